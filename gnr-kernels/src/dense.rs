//! Fully connected layers, `y = x Wᵀ + b` with x [rows, inputs] and W [outputs, inputs], and their derivatives.
//!
//! Each operation computes a *sum* of products, because derivatives of products are sums: so a tangent or a
//! second-order adjoint is written once. In `f32` with AVX-512 the convolutions' micro-kernel multiplies (`columns`,
//! `transposed`); everything else uses the `gemm` crate.

use super::elem::Elem;
use super::gemm::{Mat, Onto, single};
pub use super::operand::Pair;
use super::operand::{Operand, Slices, in_single, slices};
use super::operand_rows::{block, produce_rows, produce_rows_in_parallel, rows_in_memory};
use super::product::{Aligned, COLUMNS, Left, Right, product};
use super::simd::{self, Level};
use super::transpose::{transpose, transpose_add};
use super::work;
use crate::Accum;
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// The operands of a weight gradient: adjoint of y, and x.
pub type RowPair<'a, E> = (Operand<'a, E>, Operand<'a, E>);

/// Columns of a panel: two vectors.
const WIDTH: usize = 2 * COLUMNS;

/// Terms that are summed before the next panel: their rows of a panel stay in the first-level cache.
const DEPTH: usize = 256;

/// From so many rows on, transposing a matrix of weights or copying it to panels costs little beside the product.
const COPY_FROM: usize = 512;

/// Rows of a band of weights. From the lower bound on, copying each panel for it costs little beside the product. Up to
/// the upper bound, the left operand of [`DEPTH`] terms stays in the second-level cache.
const BAND: RangeInclusive<usize> = 64..=384;

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
        single && simd::level() >= Level::Avx512 && self.transposes() && in_place(self.inputs)
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
                out.par_chunks_mut(WIDTH * inputs).enumerate().for_each(|(i, out)| {
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
    Some(simd::level()).filter(|level| fits && single && *level >= Level::Avx512)
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

/// A right operand [k, n], in place or copied to panels. The panel of [`WIDTH`] columns from column j on starts at
/// `j / WIDTH panel`; its rows are `row` apart.
#[derive(Clone, Copy)]
struct Columns<'a> {
    data: &'a [f32],
    panel: usize,
    row: usize,
}

impl<'a> Columns<'a> {
    /// Panels of `k` rows, one after the other.
    fn panels(data: &'a [f32], k: usize) -> Self {
        Columns { data, panel: WIDTH * k, row: WIDTH }
    }
}

/// Copies a matrix [k, n] to panels.
fn panels(w: &[f32], k: usize, n: usize) -> Aligned {
    let mut copy = Aligned::new(k * n.next_multiple_of(WIDTH));
    copy.par_chunks_mut(WIDTH * k.max(1)).enumerate().for_each(|(j, panel)| {
        copy_panel(&w[j * WIDTH..], n, WIDTH.min(n - j * WIDTH), panel);
    });
    copy
}

/// Copies the first `width` columns of rows that are `row` apart to a panel.
fn copy_panel(b: &[f32], row: usize, width: usize, panel: &mut [f32]) {
    for (to, b) in panel.chunks_exact_mut(WIDTH).zip(b.chunks(row)) {
        match (to.first_chunk_mut::<WIDTH>(), b.first_chunk::<WIDTH>()) {
            (Some(to), Some(b)) => *to = *b,
            _ => to[..width].copy_from_slice(&b[..width]),
        }
    }
}

/// Copies Wᵀ to panels of whole rows.
fn transposed_panels(level: Level, w: &[f32], inputs: usize, outputs: usize) -> Aligned {
    let mut transposed = Aligned::new(inputs * outputs.next_multiple_of(WIDTH));
    transposed.par_chunks_mut(WIDTH * inputs).enumerate().for_each(|(j, panel)| {
        let w = &w[j * WIDTH * inputs..];
        transpose(level, w, inputs, WIDTH.min(w.len() / inputs.max(1)), inputs, panel, WIDTH);
    });
    transposed
}

/// Computes `y [m, n] = Σ_i a_i [m, k] b_i [k, n] + onto`, with n a multiple of [`COLUMNS`], in parallel over blocks of
/// rows.
fn times_columns(
    level: Level,
    [m, k, n]: [usize; 3],
    pairs: &[(Operand<'_, f32>, Columns<'_>)],
    y: &mut [f32],
    onto: Onto<'_, f32>,
) {
    work::count(pairs.len() * m * k * n);
    if m * n == 0 {
        return;
    }
    let block = block(m);
    let operands: Vec<_> = pairs.iter().map(|(a, _)| *a).collect();
    y.par_chunks_mut(block * n).enumerate().for_each_init(Vec::new, |memory, (i, y)| {
        let rows = y.len() / n;
        if k == 0 && matches!(onto, Onto::Nothing) {
            y.fill(0.0);
        }
        let here = i * block..i * block + rows;
        let left = rows_in_memory(&operands, here.clone(), k, memory, |producers, out| {
            produce_rows(producers, here.start, k, out)
        });
        for j in (0..n).step_by(WIDTH) {
            let mut accum = Accum::from(!matches!(onto, Onto::Nothing));
            if let Onto::Row(row) = onto {
                // Written one panel at a time just before products are added to it, so it is in the first-level cache.
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

/// Computes `out [m, n] = Σ_i a_iᵀ b_i` with a_i [k, m], b_i [k, n], n a multiple of [`COLUMNS`], or adds it to out; in
/// parallel over bands of rows. Streamed operands are produced for so few terms at a time that they stay in the caches.
fn transposed_times(
    level: Level,
    [m, k, n]: [usize; 3],
    pairs: &[RowPair<'_, f32>],
    out: &mut [f32],
    accum: Accum,
) {
    work::count(pairs.len() * m * k * n);
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
    out.par_chunks_mut(band * n).enumerate().for_each_init(memory, |copy, (i, out)| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buf;
    use crate::operand::{InMemory, materialise};
    use crate::testing::{max_abs_diff, noise, on_threads, same_bits};
    use crate::unary::Unary;
    use crate::unary_producers::{FunctionDerivative, FunctionValue};
    use std::sync::Arc;

    const LAYERS: [Layer; 7] = [
        Layer { rows: 3, inputs: 5, outputs: 7 },
        Layer { rows: 19, inputs: 32, outputs: 48 },
        Layer { rows: 600, inputs: 16, outputs: 80 },
        Layer { rows: 300, inputs: 48, outputs: 136 },
        Layer { rows: 1030, inputs: 48, outputs: 16 },
        Layer { rows: 530, inputs: 33, outputs: 64 },
        Layer { rows: 2, inputs: 0, outputs: 16 },
    ];

    fn operands<E: Elem>(Layer { rows, inputs, outputs }: Layer) -> [[Vec<E>; 2]; 3] {
        let two = |len, seed| [noise(len, seed), noise(len, seed + 1)];
        [two(rows * inputs, 1), two(outputs * inputs, 3), two(rows * outputs, 5)]
    }

    fn pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<Pair<'a, E>> {
        a.iter().zip(b).take(count).map(|(a, b)| (a.into(), &b[..])).collect()
    }

    fn row_pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<RowPair<'a, E>> {
        a.iter().zip(b).take(count).map(|(a, b)| (a.into(), b.into())).collect()
    }

    #[test]
    fn streamed_rows_change_no_bit() {
        for layer in LAYERS {
            let Layer { rows, inputs, outputs } = layer;
            let [x, w, g] = operands::<f32>(layer);
            let [xs, gs] = [&x[0], &g[0]].map(|values| Arc::new(Buf::from(values.clone())));
            // Rows of the layer, and rows of half that length.
            for parts in [1, 2] {
                if inputs % parts > 0 || outputs % parts > 0 || inputs == 0 {
                    continue;
                }
                let producer = |values: &Arc<Buf<f32>>, row| InMemory {
                    values: Arc::clone(values),
                    pixels: row / parts,
                };
                let (x_producer, g_producer) = (producer(&xs, inputs), producer(&gs, outputs));
                let run = |x_: Operand<'_, f32>, g_: Operand<'_, f32>| {
                    let [mut y, mut gx, mut gw] = [&g[0], &x[0], &w[0]].map(|like| vec![0.0; like.len()]);
                    layer.forward(&[(x_, &w[0]), ((&x[1]).into(), &w[1])], &mut y, Onto::Nothing);
                    layer.to_input(&[((&g[1]).into(), &w[1]), (g_, &w[0])], &mut gx, Accum::Replace);
                    layer.to_weight(&[(g_, x_), ((&g[1]).into(), x_)], &mut gw, Accum::Replace);
                    [y, gx, gw]
                };
                let want = run((&x[0]).into(), (&g[0]).into());
                let got = run(Operand::Streamed(&x_producer), Operand::Streamed(&g_producer));
                assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{layer:?} {rows}");
            }
        }
    }

    #[test]
    fn an_activation_and_its_tangent_from_one_evaluation_change_no_bit() {
        for layer in LAYERS.into_iter().filter(|layer| layer.inputs > 0) {
            let Layer { rows, inputs, outputs } = layer;
            let [x, w, g] = operands::<f32>(layer);
            let [x, xt] = x.map(|values| Arc::new(Buf::from(values)));
            let (f, row) = (Unary::Gelu, inputs);
            let value = FunctionValue { f, x: Arc::clone(&x), row };
            let tangent = FunctionDerivative { f, g: xt, x: Arc::clone(&x), y: x, row };
            let (value_all, tangent_all) = (materialise(&value), materialise(&tangent));
            let run = |x: Operand<'_, f32>, xt: Operand<'_, f32>| {
                let [mut y, mut gw, mut other_order] =
                    [&g[0], &w[0], &w[0]].map(|like| vec![0.0; like.len()]);
                layer.forward(&[(xt, &w[0]), (x, &w[1])], &mut y, Onto::Nothing);
                layer.to_weight(&[((&g[0]).into(), x), ((&g[1]).into(), xt)], &mut gw, Accum::Replace);
                layer.to_weight(
                    &[((&g[0]).into(), xt), ((&g[1]).into(), x)],
                    &mut other_order,
                    Accum::Replace,
                );
                [y, gw, other_order]
            };
            let want = run((&value_all).into(), (&tangent_all).into());
            let got = run(Operand::Streamed(&value), Operand::Streamed(&tangent));
            assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{layer:?} {rows} {outputs}");
        }
    }

    fn agrees_with_the_definition<E: Elem>() {
        for layer in LAYERS {
            let Layer { rows, inputs, outputs } = layer;
            let [x, w, g] = operands::<E>(layer);
            let row: Vec<E> = noise(outputs, 9);
            for count in [1, 2] {
                let sum = |f: &dyn Fn(usize) -> f64| (0..count).map(f).sum::<f64>();
                let close = |got: &[E], want: Vec<f64>, what: &str| {
                    let most = want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
                    let error = max_abs_diff(got, &want) / most;
                    assert!(error < 32.0 * E::epsilon().wide(), "{what} {layer:?} {count}: {error:e}");
                };
                for onto in [Onto::Nothing, Onto::Values, Onto::Row(&row[..])] {
                    let mut y =
                        vec![if matches!(onto, Onto::Values) { E::one() } else { E::nan() }; rows * outputs];
                    layer.forward(&pairs(&x, &w, count), &mut y, onto);
                    let want = (0..rows * outputs).map(|at| {
                        let (r, o) = (at / outputs, at % outputs);
                        let start = match onto {
                            Onto::Nothing => 0.0,
                            Onto::Values => 1.0,
                            Onto::Row(row) => row[o].wide(),
                        };
                        start
                            + sum(&|p| {
                                (0..inputs)
                                    .map(|i| x[p][r * inputs + i].wide() * w[p][o * inputs + i].wide())
                                    .sum()
                            })
                    });
                    close(&y, want.collect(), "forward");
                }
                for accum in Accum::BOTH {
                    let (start, add) = if accum.adds() { (E::one(), 1.0) } else { (E::nan(), 0.0) };
                    let mut gx = vec![start; rows * inputs];
                    layer.to_input(&pairs(&g, &w, count), &mut gx, accum);
                    let want = (0..rows * inputs).map(|at| {
                        let (r, i) = (at / inputs, at % inputs);
                        add + sum(&|p| {
                            (0..outputs)
                                .map(|o| g[p][r * outputs + o].wide() * w[p][o * inputs + i].wide())
                                .sum()
                        })
                    });
                    close(&gx, want.collect(), "input");
                    let mut gw = vec![start; outputs * inputs];
                    layer.to_weight(&row_pairs(&g, &x, count), &mut gw, accum);
                    let want = (0..outputs * inputs).map(|at| {
                        let (o, i) = (at / inputs, at % inputs);
                        add + sum(&|p| {
                            (0..rows)
                                .map(|r| g[p][r * outputs + o].wide() * x[p][r * inputs + i].wide())
                                .sum()
                        })
                    });
                    close(&gw, want.collect(), "weight");
                }
            }
        }
    }

    #[test]
    fn layers_agree_with_the_definition() {
        agrees_with_the_definition::<f64>();
        agrees_with_the_definition::<f32>();
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for layer in LAYERS {
            let [x, w, g] = operands::<f32>(layer);
            let run = |threads| {
                on_threads(threads, || {
                    let [mut y, mut gx, mut gw] = [&g[0], &x[0], &w[0]].map(|like| vec![0.0; like.len()]);
                    layer.forward(&pairs(&x, &w, 2), &mut y, Onto::Nothing);
                    layer.to_input(&pairs(&g, &w, 2), &mut gx, Accum::Replace);
                    layer.to_weight(&row_pairs(&g, &x, 2), &mut gw, Accum::Replace);
                    [y, gx, gw]
                })
            };
            let one = run(1);
            for threads in [2, 3] {
                assert!(one.iter().zip(run(threads)).all(|(a, b)| same_bits(a, &b)), "{layer:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "operand lengths")]
    fn a_short_operand_is_refused() {
        let layer = Layer { rows: 2, inputs: 3, outputs: 2 };
        layer.forward(&[(Operand::Whole(&[0.0_f32; 6]), &[0.0; 5])], &mut [0.0; 4], Onto::Nothing);
    }
}
