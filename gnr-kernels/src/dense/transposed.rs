//! Products with a transposed left operand: the weights' adjoint.

use super::columns::copy_panel;
use super::{DEPTH, RowPair, WIDTH};
use crate::Accum;
use crate::operand::{Operand, Slices};
use crate::operand_rows::{produce_rows_in_parallel, rows_in_memory};
use crate::parallel::each_chunk_with;
use crate::product::{Aligned, Left, Right, product};
use crate::runtime;
use crate::simd::Level;
use std::ops::RangeInclusive;

/// Rows of a band of weights. From the lower bound on, copying each panel for it costs little beside the product. Up to
/// the upper bound, the left operand of [`DEPTH`] terms stays in the second-level cache.
const BAND: RangeInclusive<usize> = 64..=384;

/// Computes `out [m, n] = Σ_i a_iᵀ b_i` with a_i [k, m], b_i [k, n], n a multiple of `COLUMNS`, or adds it to out; in
/// parallel over bands of rows. Streamed operands are produced for so few terms at a time that they stay in the caches.
pub(super) fn transposed_times(
    level: Level,
    [m, k, n]: [usize; 3],
    pairs: &[RowPair<'_, f32>],
    out: &mut [f32],
    accum: Accum,
) {
    runtime().count(pairs.len() * m * k * n);
    if m * n == 0 {
        return;
    }
    if k == 0 && !accum.adds() {
        return out.fill(0.0);
    }
    // Pieces of one size, for operands in memory and for streamed ones.
    let depth = k.div_ceil(k.div_ceil(DEPTH).max(1)).max(1);
    let (left, right): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let whole = left.iter().chain(&right).all(|operand| matches!(operand, Operand::Whole(_)));
    let terms = if whole { k.max(1) } else { 2 * depth };
    let mut memory = [Vec::new(), Vec::new()];
    for first in (0..k).step_by(terms) {
        let here = first..(first + terms).min(k);
        let [of_left, of_right] = &mut memory;
        let a = rows_in_memory(&left, here.clone(), m, of_left, |producers, out| {
            produce_rows_in_parallel(producers, first, m, out)
        });
        let b = rows_in_memory(&right, here.clone(), n, of_right, |producers, out| {
            produce_rows_in_parallel(producers, first, n, out)
        });
        let pairs: Vec<Slices<'_, f32>> = a.into_iter().zip(b).collect();
        add_transposed(level, [m, here.len(), n], depth, &pairs, out, accum.or(first > 0));
    }
}

/// Computes one part of [`transposed_times`], with sums in pieces of `depth` terms.
fn add_transposed(
    level: Level,
    [m, k, n]: [usize; 3],
    depth: usize,
    pairs: &[Slices<'_, f32>],
    out: &mut [f32],
    accum: Accum,
) {
    let band = m.div_ceil(rayon::current_num_threads()).next_multiple_of(8).clamp(8, *BAND.end());
    let memory = || (band >= *BAND.start()).then(|| Aligned::new(WIDTH * depth));
    each_chunk_with(out, band * n, 1, memory, |copy, i, out| {
        let rows = out.len() / n;
        for l in (0..k).step_by(depth) {
            let terms = depth.min(k - l);
            for (p, (a, b)) in pairs.iter().enumerate() {
                for j in (0..n).step_by(WIDTH) {
                    let width = WIDTH.min(n - j);
                    let a = Left::Columns(&a[l * m + i * band..], m);
                    let b = &b[l * n + j..];
                    let b = match copy {
                        Some(copy) => {
                            copy_panel(b, n, width, &mut copy[..terms * WIDTH]);
                            Right { data: copy, row: WIDTH }
                        }
                        None => Right { data: b, row: n },
                    };
                    let accum = accum.or(l > 0 || p > 0);
                    product(level, [rows, terms, width], a, b, &mut out[j..], n, accum);
                }
            }
        }
    });
}
