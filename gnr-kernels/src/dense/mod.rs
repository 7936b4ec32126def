//! Fully connected layers, `y = x Wᵀ + b` with x [rows, inputs] and W [outputs, inputs], and their derivatives.
//!
//! Each operation computes a *sum* of products, because derivatives of products are sums: so a tangent or a
//! second-order adjoint is written once. In `f32` with AVX-512 the convolutions' micro-kernel multiplies (`columns`,
//! `transposed`); everything else uses the `gemm` crate.

mod columns;
mod transposed;

use super::elem::Elem;
use super::gemm::{Mat, Onto, single};
pub use super::operand::Pair;
use super::operand::{Operand, Slices, in_single, slices};
use super::product::{Aligned, COLUMNS};
use super::simd::Level;
use super::transpose::{transpose, transpose_add};
use crate::parallel::each_chunk;
use crate::{Accum, runtime};
use columns::{Columns, panels, times_columns, transposed_panels};
use transposed::transposed_times;

/// The operands of a weight gradient: adjoint of y, and x.
pub type RowPair<'a, E> = (Operand<'a, E>, Operand<'a, E>);

/// Columns of a panel: two vectors.
const WIDTH: usize = 2 * COLUMNS;

/// Terms that are summed before the next panel: their rows of a panel stay in the first-level cache.
const DEPTH: usize = 256;

/// From so many rows on, transposing a matrix of weights or copying it to panels costs little beside the product.
const COPY_FROM: usize = 512;

/// The shape of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Number of rows of x and y.
    pub rows: usize,
    /// Number of columns of x and W.
    pub inputs: usize,
    /// Number of columns of y and rows of W.
    pub outputs: usize,
}

impl Layer {
    /// Whether the products read rows of `f32` (`single`) piece by piece. If not, streamed operands are computed whole
    /// first.
    pub fn streams(self, single: bool) -> bool {
        single && runtime().level() >= Level::Avx512 && self.transposes() && in_place(self.inputs)
    }

    /// Whether the forward product uses a transposed copy of W.
    fn transposes(self) -> bool {
        self.outputs.is_multiple_of(COLUMNS) && self.rows >= COPY_FROM
    }

    /// Computes `y = Σ_i x_i W_iᵀ + onto` over `pairs` of (x, W).
    ///
    /// # Panics
    /// When a length does not match or there is no pair.
    pub fn forward<E: Elem>(self, pairs: &[Pair<'_, E>], y: &mut [E], onto: Onto<'_, E>) {
        let Self { rows, inputs, outputs } = self;
        let lengths = pairs.iter().map(|(x, w)| [x.len(), w.len()]);
        self.check(lengths, [rows * inputs, outputs * inputs], y.len(), rows * outputs);
        let fast = fast::<E>(self.transposes());
        let values: Vec<_> = pairs.iter().map(|(x, _)| x.resolve(fast.is_some(), inputs)).collect();
        match (fast, in_single(&values, pairs), E::as_f32_mut(y), single_onto(onto)) {
            (Some(level), Some(pairs), Some(y), Some(onto)) => {
                let transposed: Vec<Aligned> =
                    pairs.iter().map(|(_, w)| transposed_panels(level, w, inputs, outputs)).collect();
                let right = transposed.iter().map(|w| Columns::panels(w, inputs));
                let pairs: Vec<_> = pairs.iter().map(|(x, _)| *x).zip(right).collect();
                times_columns(level, [rows, inputs, outputs], &pairs, y, onto);
            }
            _ => each(&slices(&values, pairs), y, onto, |(x, w), y, onto| {
                single([rows, inputs, outputs], Mat::rows(x, inputs), Mat::rows(w, inputs).t(), y, onto);
            }),
        }
    }

    /// Computes `x̄ = Σ_i g_i W_i` over `pairs` of (adjoint of y, W), or adds it to out.
    ///
    /// # Panics
    /// When a length does not match or there is no pair.
    pub fn to_input<E: Elem>(self, pairs: &[Pair<'_, E>], out: &mut [E], accum: Accum) {
        let Self { rows, inputs, outputs } = self;
        let lengths = pairs.iter().map(|(g, w)| [g.len(), w.len()]);
        self.check(lengths, [rows * outputs, outputs * inputs], out.len(), rows * inputs);
        let fast = fast::<E>(in_place(inputs));
        let values: Vec<_> = pairs.iter().map(|(g, _)| g.resolve(fast.is_some(), outputs)).collect();
        match (fast, in_single(&values, pairs), E::as_f32_mut(out)) {
            (Some(level), Some(pairs), Some(out)) => {
                let copy = |w| (rows >= COPY_FROM).then(|| panels(w, outputs, inputs));
                let copies: Vec<_> = pairs.iter().map(|(_, w)| copy(w)).collect();
                let right = copies.iter().zip(&pairs).map(|(copy, (_, w))| match copy {
                    Some(copy) => Columns::panels(copy, outputs),
                    None => Columns { data: w, panel: WIDTH, row: inputs },
                });
                let pairs: Vec<_> = pairs.iter().map(|(g, _)| *g).zip(right).collect();
                times_columns(level, [rows, outputs, inputs], &pairs, out, Onto::values(accum));
            }
            (_, _, _) => each(&slices(&values, pairs), out, Onto::values(accum), |(g, w), out, onto| {
                single([rows, outputs, inputs], Mat::rows(g, outputs), Mat::rows(w, inputs), out, onto);
            }),
        }
    }

    /// Computes `W̄ = Σ_i g_iᵀ x_i` over `pairs` of (adjoint of y, x), or adds it to out.
    ///
    /// # Panics
    /// When a length does not match or there is no pair.
    pub fn to_weight<E: Elem>(self, pairs: &[RowPair<'_, E>], out: &mut [E], accum: Accum) {
        let Self { rows, inputs, outputs } = self;
        let lengths = pairs.iter().map(|(g, x)| [g.len(), x.len()]);
        self.check(lengths, [rows * outputs, rows * inputs], out.len(), outputs * inputs);
        let fast = fast::<E>(in_place(inputs));
        let streams = fast.is_some();
        let values: Vec<_> =
            pairs.iter().map(|(g, x)| (g.resolve(streams, outputs), x.resolve(streams, inputs))).collect();
        let single_pairs: Option<Vec<RowPair<'_, f32>>> =
            values.iter().map(|(g, x)| Some((g.values().as_f32()?, x.values().as_f32()?))).collect();
        match (fast, single_pairs, E::as_f32_mut(out)) {
            (Some(level), Some(pairs), Some(out)) => {
                if 2 * outputs > inputs || rows < COPY_FROM || !in_place(outputs) {
                    return transposed_times(level, [outputs, rows, inputs], &pairs, out, accum);
                }
                // With few outputs, computes the transpose, whose bands have at least twice as many rows.
                let mut transposed = Aligned::new(out.len());
                let pairs: Vec<_> = pairs.iter().map(|&(g, x)| (x, g)).collect();
                transposed_times(level, [inputs, rows, outputs], &pairs, &mut transposed, Accum::Replace);
                let write = if accum.adds() { transpose_add } else { transpose };
                each_chunk(out, WIDTH * inputs, 1, |i, out| {
                    let from = &transposed[WIDTH * i..];
                    write(level, from, outputs, inputs, out.len() / inputs, out, inputs);
                });
            }
            (_, _, _) => {
                let pairs: Vec<Slices<'_, E>> = values.iter().map(|(g, x)| (g.whole(), x.whole())).collect();
                each(&pairs, out, Onto::values(accum), |(g, x), out, onto| {
                    let (g, x) = (Mat::rows(g, outputs).t(), Mat::rows(x, inputs));
                    single([outputs, rows, inputs], g, x, out, onto);
                });
            }
        }
    }

    fn check(
        self,
        pairs: impl Iterator<Item = [usize; 2]>,
        expected: [usize; 2],
        out: usize,
        expected_out: usize,
    ) {
        let mut count = 0;
        for pair in pairs {
            assert_eq!(pair, expected, "operand lengths of {self:?}");
            count += 1;
        }
        assert!(count > 0, "a layer needs at least one pair of operands");
        assert_eq!(out, expected_out, "length of the result of {self:?}");
    }
}

/// The instruction set for our own kernel, if that kernel is the faster one and the shape `fits`.
fn fast<E: Elem>(fits: bool) -> Option<Level> {
    let single = E::as_f32(&[]).is_some();
    Some(runtime().level()).filter(|level| fits && single && *level >= Level::Avx512)
}

/// Whether a right operand of so many columns is read in place. It must be whole vectors, and its rows must not all map
/// to the same sets of the caches.
fn in_place(columns: usize) -> bool {
    columns.is_multiple_of(COLUMNS) && !columns.is_multiple_of(1024)
}

fn single_onto<E: Elem>(onto: Onto<'_, E>) -> Option<Onto<'_, f32>> {
    Some(match onto {
        Onto::Nothing => Onto::Nothing,
        Onto::Values => Onto::Values,
        Onto::Row(row) => Onto::Row(E::as_f32(row)?),
    })
}

/// Computes one product after the other with `one`.
fn each<'a, E: Elem>(
    pairs: &[Slices<'a, E>],
    out: &mut [E],
    onto: Onto<'_, E>,
    one: impl Fn(Slices<'a, E>, &mut [E], Onto<'_, E>),
) {
    for (i, pair) in pairs.iter().enumerate() {
        one(*pair, out, if i == 0 { onto } else { Onto::Values });
    }
}

#[cfg(test)]
mod tests;
