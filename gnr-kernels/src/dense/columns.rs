//! The forward product and the input's adjoint: the right operand is read in place or copied to panels.
//!
//! The micro-kernel reads the right operand most. Rows that are a large even distance apart compete for a few sets of
//! the first-level cache. So the operand is copied to panels if enough rows read it.

use super::{DEPTH, WIDTH};
use crate::Accum;
use crate::gemm::Onto;
use crate::operand::Operand;
use crate::operand_rows::{block, produce_rows, rows_in_memory};
use crate::parallel::{each_chunk, each_chunk_with};
use crate::product::{Aligned, Left, Right, product};
use crate::runtime;
use crate::simd::Level;
use crate::transpose::transpose;

/// A right operand [k, n], in place or copied to panels. The panel of [`WIDTH`] columns from column j on starts at
/// `j / WIDTH panel`; its rows are `row` apart.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) data: &'a [f32],
    pub(super) panel: usize,
    pub(super) row: usize,
}

impl<'a> Columns<'a> {
    /// Panels of `k` rows, one after the other.
    pub(super) fn panels(data: &'a [f32], k: usize) -> Self {
        Columns { data, panel: WIDTH * k, row: WIDTH }
    }
}

/// Copies a matrix [k, n] to panels.
pub(super) fn panels(w: &[f32], k: usize, n: usize) -> Aligned {
    let mut copy = Aligned::new(k * n.next_multiple_of(WIDTH));
    each_chunk(&mut copy, WIDTH * k.max(1), 1, |j, panel| {
        copy_panel(&w[j * WIDTH..], n, WIDTH.min(n - j * WIDTH), panel);
    });
    copy
}

/// Copies the first `width` columns of rows that are `row` apart to a panel.
pub(super) fn copy_panel(b: &[f32], row: usize, width: usize, panel: &mut [f32]) {
    for (to, b) in panel.chunks_exact_mut(WIDTH).zip(b.chunks(row)) {
        match (to.first_chunk_mut::<WIDTH>(), b.first_chunk::<WIDTH>()) {
            (Some(to), Some(b)) => *to = *b,
            _ => to[..width].copy_from_slice(&b[..width]),
        }
    }
}

/// Copies Wᵀ to panels of whole rows.
pub(super) fn transposed_panels(level: Level, w: &[f32], inputs: usize, outputs: usize) -> Aligned {
    let mut transposed = Aligned::new(inputs * outputs.next_multiple_of(WIDTH));
    each_chunk(&mut transposed, (WIDTH * inputs).max(1), 1, |j, panel| {
        let w = &w[j * WIDTH * inputs..];
        transpose(level, w, inputs, WIDTH.min(w.len() / inputs.max(1)), inputs, panel, WIDTH);
    });
    transposed
}

/// Computes `y [m, n] = Σ_i a_i [m, k] b_i [k, n] + onto`, with n a multiple of `COLUMNS`, in parallel over blocks of
/// rows.
pub(super) fn times_columns(
    level: Level,
    [m, k, n]: [usize; 3],
    pairs: &[(Operand<'_, f32>, Columns<'_>)],
    y: &mut [f32],
    onto: Onto<'_, f32>,
) {
    runtime().count(pairs.len() * m * k * n);
    if m * n == 0 {
        return;
    }
    let block = block(m);
    let operands: Vec<_> = pairs.iter().map(|(a, _)| *a).collect();
    each_chunk_with(y, block * n, 1, Vec::new, |memory, i, y| {
        let rows = y.len() / n;
        if k == 0 && matches!(onto, Onto::Nothing) {
            y.fill(0.0);
        }
        let here = i * block..i * block + rows;
        let left = rows_in_memory(&operands, here.clone(), k, memory, |producers, mut out| {
            produce_rows(producers, here.start, k, &mut out)
        });
        for j in (0..n).step_by(WIDTH) {
            let mut accum = Accum::from(!matches!(onto, Onto::Nothing));
            if let Onto::Row(row) = onto {
                // The bias is written one panel at a time, just before products are added to it, so it is in the
                // first-level cache.
                let row = &row[j..(j + WIDTH).min(n)];
                y.chunks_exact_mut(n).for_each(|y| match <&[f32; WIDTH]>::try_from(row) {
                    Ok(row) => y[j..][..WIDTH].copy_from_slice(row),
                    Err(_) => y[j..][..row.len()].copy_from_slice(row),
                });
            }
            for (a, (_, b)) in left.iter().zip(pairs) {
                for l in (0..k).step_by(DEPTH) {
                    let a = Left::Rows(&a[l..], k);
                    let b = Right { data: &b.data[j / WIDTH * b.panel + l * b.row..], row: b.row };
                    let size = [rows, DEPTH.min(k - l), WIDTH.min(n - j)];
                    product(level, size, a, b, &mut y[j..], n, accum);
                    accum = Accum::Add;
                }
            }
        }
    });
}
