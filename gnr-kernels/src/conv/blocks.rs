//! Cutting a batch into blocks that fit the second-level cache, and summing over blocks in an order that the number of
//! threads does not change.

use super::PARTS;
use super::product::{Aligned, spread};
use crate::elementwise::add_assign;
use crate::parallel::{chunk, collect, collect_with, each_chunk};
use std::ops::Range;

/// Accumulators of up to so many bytes are usually private to a part of the batch. Larger ones are shared, and the
/// products run in parallel.
pub(super) const PRIVATE_BYTES: usize = 2 << 20;

/// Bytes of transformed operands in memory at a time when accumulators are shared.
const GROUP_BYTES: usize = 8 << 20;

/// The size of a block: `images` whole images, or `rows` rows of one image that is too large. Columns of a block's
/// matrices are ordered by image, row, column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) images: usize,
    pub(super) rows: usize,
}

impl Cut {
    /// Cuts images of `rows` x `columns` into blocks of about `target` elements. Blocks of one image differ as little
    /// as they can.
    pub(super) fn new(rows: usize, columns: usize, target: usize) -> Self {
        let most = (target / columns).clamp(1, rows);
        Cut { images: (target / (rows * columns)).max(1), rows: rows.div_ceil(rows.div_ceil(most)) }
    }
}

/// One block of one operand pair.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) pair: usize,
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// Every block of a batch of `n` images of `rows` rows, in a fixed order. Pairs are innermost, so an operand that they
/// share is read from the caches.
pub(super) fn jobs(pairs: usize, n: usize, rows: usize, cut: Cut) -> Vec<Job> {
    let mut jobs = Vec::new();
    for image in (0..n).step_by(cut.images) {
        for row in (0..rows).step_by(cut.rows) {
            let (images, rows) = (image..(image + cut.images).min(n), row..(row + cut.rows).min(rows));
            jobs.extend((0..pairs).map(|pair| Job { pair, images: images.clone(), rows: rows.clone() }));
        }
    }
    jobs
}

/// The shape of accumulators: `units` matrices of `rows` x `lanes`, [`spread`] apart.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) units: usize,
    pub(super) rows: usize,
    pub(super) lanes: usize,
    /// Most bytes for which every part of the batch has its own accumulators.
    pub(super) private: usize,
}

impl Sums {
    /// Distance between units.
    pub(super) fn unit(&self) -> usize {
        spread(self.rows * self.lanes)
    }
    /// Bytes of all units.
    pub(super) fn bytes(&self) -> usize {
        self.units * self.unit() * size_of::<f32>()
    }
}

/// The sum of `parts` of `size` elements, in their order; zeros if there are none.
pub(super) fn added(parts: Vec<Aligned>, size: usize) -> Aligned {
    /// Elements of a task: so few that those of all parts stay in the second-level cache.
    const TASK: usize = 4096;
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| Aligned::zeroed(size));
    let rest: Vec<Aligned> = parts.collect();
    each_chunk(&mut sum, TASK, 1, |i, sum| {
        rest.iter().for_each(|part| add_assign(sum, &part[i * TASK..][..sum.len()]));
    });
    sum
}

/// Sums over `jobs`. `transform` prepares the operands of a block (about `bytes` large), and
/// `add(block, unit, rows, sum)` adds its product to some rows of a unit.
pub(super) fn sum_over<B: Send + Sync, S>(
    sums: Sums,
    jobs: &[Job],
    bytes: usize,
    scratch: impl Fn() -> S + Sync + Send,
    transform: impl Fn(&Job, &mut S) -> B + Sync + Send,
    add: impl Fn(&B, usize, Range<usize>, &mut [f32]) + Sync,
) -> Aligned {
    let Sums { units, rows, lanes, private } = sums;
    let (unit, size) = (sums.unit(), units * sums.unit());
    if sums.bytes() <= private {
        let each = jobs.len().div_ceil(PARTS).max(1);
        let part = |i| {
            let (mut sum, mut scratch) = (Aligned::zeroed(size), scratch());
            for job in chunk(jobs, each, i) {
                let block = transform(job, &mut scratch);
                for (i, sum) in sum.chunks_exact_mut(unit).enumerate() {
                    add(&block, i, 0..rows, &mut sum[..rows * lanes]);
                }
            }
            sum
        };
        return added(collect(jobs.len().div_ceil(each), 1, part), size);
    }
    let mut sum = Aligned::zeroed(size);
    for group in jobs.chunks((GROUP_BYTES / bytes.max(1)).max(2)) {
        let blocks: Vec<B> =
            collect_with(group.len(), 1, &scratch, |scratch, i| transform(&group[i], scratch));
        // Bands of rows, small enough that every thread has several, whatever the number of units.
        let band = 64;
        each_chunk(&mut sum, unit, 1, |i, sum| {
            each_chunk(&mut sum[..rows * lanes], band * lanes, 1, |j, sum| {
                let rows = j * band..j * band + sum.len() / lanes;
                blocks.iter().for_each(|block| add(block, i, rows.clone(), sum));
            });
        });
    }
    sum
}
