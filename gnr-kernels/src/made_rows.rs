//! Rows of a layer's operands: where they stand, or made block by block into working memory that stays in the caches.

use super::made::{MakeMaps, Values};
use super::product::Aligned;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a block: with up to a thousand columns each it stays in the second-level cache.
const ROWS: usize = 104;

/// Rows of a parallel block: whole register tiles, several for every thread. Blocks change no bit.
pub(super) fn block(rows: usize) -> usize {
    rows.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(8).clamp(8, ROWS)
}

/// The rows `rows` of operands of `k` columns: where they stand, or as `fill` makes them in `memory`, all that are made at once.
pub(super) fn standing<'m>(
    operands: &[Values<'m, f32>],
    rows: Range<usize>,
    k: usize,
    memory: &'m mut Vec<Aligned>,
    fill: impl FnOnce(&[&dyn MakeMaps<f32>], Vec<&mut [f32]>),
) -> Vec<&'m [f32]> {
    let made: Vec<_> = (operands.iter())
        .filter_map(|operand| match operand {
            Values::Whole(_) => None,
            Values::Made(made) => Some(*made),
        })
        .collect();
    let len = rows.len() * k;
    if memory.len() < made.len() || memory.iter().any(|memory| memory.len() < len) {
        *memory = made.iter().map(|_| Aligned::new(len)).collect();
    }
    if !made.is_empty() {
        fill(&made, memory.iter_mut().take(made.len()).map(|memory| &mut memory[..len]).collect());
    }
    let mut memory = memory.iter();
    let mut in_memory = || memory.next().map_or(&[][..], |memory| &memory[..len]);
    (operands.iter())
        .map(|operand| match operand {
            Values::Whole(whole) => &whole[rows.start * k..rows.end * k],
            Values::Made(_) => in_memory(),
        })
        .collect()
}

/// Makes the rows from `first` on, of `k` columns each; two operands together, where they come from one evaluation.
pub(super) fn make_rows(made: &[&dyn MakeMaps<f32>], first: usize, k: usize, mut out: Vec<&mut [f32]>) {
    let rows = out.first().map_or(0, |out| out.len() / k.max(1));
    for i in 0..rows {
        let row = i * k..(i + 1) * k;
        if let ([a, b], [out_a, out_b]) = (made, &mut out[..]) {
            let (out_a, out_b) = (&mut out_a[row.clone()], &mut out_b[row.clone()]);
            if a.make_with(*b, first + i, 0..k, out_a, out_b)
                || b.make_with(*a, first + i, 0..k, out_b, out_a)
            {
                continue;
            }
        }
        for (made, out) in made.iter().zip(&mut out) {
            made.make(first + i, 0..k, &mut out[row.clone()]);
        }
    }
}

/// The same in parallel.
pub(super) fn make_rows_in_parallel(
    made: &[&dyn MakeMaps<f32>],
    first: usize,
    k: usize,
    out: Vec<&mut [f32]>,
) {
    let each = block(out.first().map_or(0, |out| out.len() / k.max(1)));
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    for out in out {
        for (i, part) in out.chunks_mut(each * k.max(1)).enumerate() {
            if parts.len() <= i {
                parts.push(Vec::new());
            }
            parts[i].push(part);
        }
    }
    parts.into_par_iter().enumerate().for_each(|(i, out)| make_rows(made, first + i * each, k, out));
}
