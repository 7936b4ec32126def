//! Rows of a layer's operands: slices in memory, or rows produced block by block in a workspace that stays in the
//! caches.

use super::operand::{Operand, Producer};
use super::parallel;
use super::product::Aligned;
use std::ops::Range;

/// Most rows of a block: with up to a thousand columns they stay in the second-level cache.
const ROWS: usize = 104;

/// Number of rows of a parallel block: whole register tiles, several for every thread. The size of blocks changes no
/// bit.
pub(super) fn block(rows: usize) -> usize {
    rows.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(8).clamp(8, ROWS)
}

/// The rows `rows` of operands of `k` columns. Each streamed operand gets a part of `memory`, and one call of `fill`
/// produces the rows of all of them.
pub(super) fn rows_in_memory<'m>(
    operands: &[Operand<'m, f32>],
    rows: Range<usize>,
    k: usize,
    memory: &'m mut Vec<Aligned>,
    fill: impl FnOnce(&[&dyn Producer<f32>], Vec<&mut [f32]>),
) -> Vec<&'m [f32]> {
    let producers: Vec<_> = (operands.iter())
        .filter_map(|operand| match operand {
            Operand::Whole(_) => None,
            Operand::Streamed(producer) => Some(*producer),
        })
        .collect();
    let len = rows.len() * k;
    if memory.len() < producers.len() || memory.iter().any(|memory| memory.len() < len) {
        *memory = producers.iter().map(|_| Aligned::new(len)).collect();
    }
    if !producers.is_empty() {
        fill(&producers, memory.iter_mut().take(producers.len()).map(|memory| &mut memory[..len]).collect());
    }
    let mut memory = memory.iter();
    let mut in_memory = || memory.next().map_or(&[][..], |memory| &memory[..len]);
    (operands.iter())
        .map(|operand| match operand {
            Operand::Whole(whole) => &whole[rows.start * k..rows.end * k],
            Operand::Streamed(_) => in_memory(),
        })
        .collect()
}

/// Produces the rows from `first` on, of `k` columns each. Two operands are produced together if one evaluation gives
/// both.
pub(super) fn produce_rows(producers: &[&dyn Producer<f32>], first: usize, k: usize, out: &mut [&mut [f32]]) {
    let rows = out.first().map_or(0, |out| out.len() / k.max(1));
    for i in 0..rows {
        let row = i * k..(i + 1) * k;
        if let ([a, b], [out_a, out_b]) = (producers, &mut *out) {
            let (out_a, out_b) = (&mut out_a[row.clone()], &mut out_b[row.clone()]);
            if a.produce_with(*b, first + i, 0..k, out_a, out_b)
                || b.produce_with(*a, first + i, 0..k, out_b, out_a)
            {
                continue;
            }
        }
        for (producer, out) in producers.iter().zip(&mut *out) {
            producer.produce(first + i, 0..k, &mut out[row.clone()]);
        }
    }
}

/// Does the work of [`produce_rows`] in parallel.
pub(super) fn produce_rows_in_parallel(
    producers: &[&dyn Producer<f32>],
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
    parallel::each(&mut parts, 1, |i, out| produce_rows(producers, first + i * each, k, out));
}
