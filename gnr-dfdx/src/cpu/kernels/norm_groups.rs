//! Two passes over [N, C, HW], of which the second needs what the first sums up over each channel: a few channels of all images at a time, so
//! that the second pass finds in the second-level cache what the first one read.

use super::norm::Maps;
use rayon::prelude::*;

/// Elements that a group of channels has of an image, at least, where there are so many: a run that the hardware foresees.
const RUN: usize = 1024;

/// The maps of one group of channels and one image.
struct Run<'a, E> {
    /// The first of them.
    map: usize,
    in_place: Option<&'a mut [E]>,
    out: Option<&'a mut [E]>,
}

/// Map `c` of a run of maps of `hw` elements.
fn part<'s, E>(run: &'s mut Option<&mut [E]>, c: usize, hw: usize) -> Option<&'s mut [E]> {
    run.as_deref_mut().map(|run| &mut run[c * hw..][..hw])
}

/// For each channel: `sum` of its maps (and what each has `in_place`), `merge` of these sums in the order of the images, then `write` of its
/// maps with what the second part of that is, to `out` if that is given. Returns the first parts.
///
/// The groups change no bit.
pub(super) fn sum_then_write<E: Send, S: Copy + Send, R: Send, K: Sync + Send>(
    maps: Maps,
    in_place: Option<&mut [E]>,
    out: Option<&mut [E]>,
    sum: impl Fn(usize, Option<&mut [E]>) -> S + Sync,
    merge: impl Fn(usize, &[S]) -> (R, K) + Sync,
    write: impl Fn(usize, Option<&[E]>, &mut [E], &K) + Sync,
) -> Vec<R> {
    let Maps { n, c, hw } = maps;
    let each = RUN.div_ceil(hw.max(1)).clamp(1, c.max(1));
    let count = c.div_ceil(each);
    let mut groups: Vec<Vec<Run<'_, E>>> = (0..count).map(|_| Vec::with_capacity(n)).collect();
    let mut whole = [in_place, out].map(|array| array.map(|array| array.chunks_mut(c * hw)));
    for image in 0..n {
        let [mut in_place, mut out] = whole
            .each_mut()
            .map(|array| array.as_mut().and_then(Iterator::next).map(|image| image.chunks_mut(each * hw)));
        for (g, group) in groups.iter_mut().enumerate() {
            let [in_place, out] =
                [&mut in_place, &mut out].map(|array| array.as_mut().and_then(Iterator::next));
            group.push(Run { map: image * c + g * each, in_place, out });
        }
    }
    // Few groups for many threads: each in parallel over its images.
    let images = if count < rayon::current_num_threads() { 1 } else { n };
    let results = groups.into_par_iter().with_min_len(maps.batch().div_ceil(n * each)).enumerate().map(
        |(g, mut runs)| {
            let channels = g * each..((g + 1) * each).min(c);
            let sums: Vec<Vec<S>> = (runs.par_iter_mut().with_min_len(images))
                .map(|run| {
                    (0..channels.len()).map(|c| sum(run.map + c, part(&mut run.in_place, c, hw))).collect()
                })
                .collect();
            let of_channel = |c| sums.iter().map(|sums| sums[c]).collect::<Vec<S>>();
            let (results, merged): (Vec<R>, Vec<K>) =
                channels.clone().enumerate().map(|(i, c)| merge(c, &of_channel(i))).unzip();
            runs.par_iter_mut().with_min_len(images).for_each(|run| {
                for (c, merged) in merged.iter().enumerate() {
                    let in_place = part(&mut run.in_place, c, hw);
                    if let Some(out) = part(&mut run.out, c, hw) {
                        write(run.map + c, in_place.as_deref(), out, merged);
                    }
                }
            });
            results
        },
    );
    results.collect::<Vec<_>>().into_iter().flatten().collect()
}
