//! Depthwise convolutions (one input and one output channel a group) in `f32` and `f64`.
//!
//! Each output map is a weighted sum of shifted maps; a matrix product would have a single row. A map is first laid out
//! with its padding and, for a stride s, as s² *phases*: phase (a, b) has rows a, a + s, … and columns b, b + s, … Then
//! output (y, x) and tap (ky, kx) meet at one fixed distance in memory. So a sum over taps is one loop over the whole
//! map, whose partial sums stay in registers for any stride and width. The price is a few meaningless columns between
//! rows, which are dropped.

use super::{Geometry, Slices};
use crate::Accum;
use crate::buffer::Buf;
use crate::elem::Elem;
use crate::parallel::each_chunk_with;
use crate::simd::{CHUNK, simd};

/// Whether a geometry is depthwise.
pub(super) fn fits(g: &Geometry) -> bool {
    g.groups == g.c && g.groups == g.o && g.c > 1
}

/// Number of maps that one parallel task computes.
fn batch(g: &Geometry) -> usize {
    CHUNK.div_ceil(g.l() * g.ck())
}

/// Partial sums in registers: four AVX2 vectors of `f32`.
const WIDTH: usize = 32;

/// Taps whose weight gradients are summed together.
const TAPS: usize = 4;

/// Partial sums of a weight gradient.
const SUMS: usize = 16;

/// Elements of a map that stay in the first-level cache while every tap visits them.
const STRIP: usize = 512;

/// A map cut into phases of `rows` rows that start `row` elements apart.
#[derive(Clone, Copy)]
struct Phases {
    stride: usize,
    rows: usize,
    row: usize,
}

impl Phases {
    /// Distance between phases.
    fn size(&self) -> usize {
        self.rows * self.row
    }
    /// Number of elements, with room for loops that run past the end.
    fn len(&self) -> usize {
        self.stride * self.stride * self.size() + self.row + WIDTH
    }
    /// Offset of the padded element (y, x).
    fn at(&self, y: usize, x: usize) -> usize {
        let s = self.stride;
        (y % s * s + x % s) * self.size() + y / s * self.row + x / s
    }
}

/// Layouts of the input and of the output, with the same distance between rows.
struct Plan {
    input: Phases,
    /// The layout of an output with zeros before it, so that an input's adjoint can look back at every output that read
    /// it.
    output: Phases,
    /// Rows and columns of the zeros before an output.
    before: [usize; 2],
    /// Distance in the input's layout from output (0, 0) to the element that tap k reads.
    taps: Vec<usize>,
}

impl Plan {
    fn new(g: &Geometry) -> Self {
        let s = g.stride;
        // Taps reach (k − 1)/s rows and columns of a phase beyond the last output. No output reads what the image has
        // beyond that.
        let reach = [(g.kh - 1) / s, (g.kw - 1) / s];
        let row = g.ow + reach[1];
        let input = Phases { stride: s, rows: g.oh + reach[0], row };
        let output = Phases { stride: 1, rows: g.oh + 2 * reach[0], row: g.ow + 2 * reach[1] };
        let taps = (0..g.ck()).map(|k| input.at(k / g.kw, k % g.kw)).collect();
        Plan { input, output, before: reach, taps }
    }
    /// Number of outputs in the input's layout.
    fn flat(&self, g: &Geometry) -> usize {
        (g.oh - 1) * self.input.row + g.ow
    }
}

/// Computes `y = Σ_i conv(x_i, w_i)`.
pub(super) fn forward<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], y: &mut [E]) {
    let plan = Plan::new(g);
    let scratch = || (Buf::zeroed(plan.input.len()), Buf::new(plan.flat(g) + WIDTH), Vec::new());
    each_chunk_with(y, g.l(), batch(g), scratch, |(padded, sums, taps), i, y| {
        for (p, (x, w)) in pairs.iter().enumerate() {
            spread(g, &plan.input, map(x, i, g.h * g.w), padded);
            taps.clear();
            taps.extend(plan.taps.iter().copied().zip(map(w, i % g.c, g.ck()).iter().copied()));
            correlate(&mut sums[..], padded, taps, plan.flat(g));
            for (y, sums) in y.chunks_exact_mut(g.ow).zip(sums.chunks(plan.input.row)) {
                put(y, &sums[..g.ow], Accum::from(p > 0));
            }
        }
    });
}

/// Computes `gx = Σ_i convᵀ(gy_i, w_i)` or adds it to gx: one phase of the input at a time, from the taps that read it.
pub(super) fn backward_input<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], gx: &mut [E], accum: Accum) {
    let plan = Plan::new(g);
    let (s, layout, [rows, columns]) = (g.stride, plan.output, plan.before);
    // Phase rows and columns that some tap reads.
    let flat = (g.oh + rows - 1) * layout.row + g.ow + columns;
    let scratch = || (Buf::zeroed(layout.len()), Buf::new(flat + WIDTH), Vec::new());
    each_chunk_with(gx, g.h * g.w, batch(g), scratch, |(padded, sums, taps), i, gx| {
        if !accum.adds() {
            gx.fill(E::zero());
        }
        for (gy, w) in pairs {
            let (gy, w) = (map(gy, i, g.l()), map(w, i % g.c, g.ck()));
            for (y, gy) in gy.chunks_exact(g.ow).enumerate() {
                padded[(y + rows) * layout.row + columns..][..g.ow].copy_from_slice(gy);
            }
            for phase in 0..s * s {
                let (a, b) = (phase / s, phase % s);
                taps.clear();
                for (k, &w) in w.iter().enumerate() {
                    let (ky, kx) = (k / g.kw, k % g.kw);
                    if (ky % s, kx % s) == (a, b) {
                        taps.push(((rows - ky / s) * layout.row + columns - kx / s, w));
                    }
                }
                if taps.is_empty() {
                    continue;
                }
                correlate(&mut sums[..], padded, taps, flat);
                for (r, sums) in sums.chunks(layout.row).enumerate().take(g.oh + rows) {
                    let Some(y) = (r * s + a).checked_sub(g.top).filter(|y| *y < g.h) else { continue };
                    let (gx, first) = column(&mut gx[y * g.w..][..g.w], s, b, g.left);
                    let count = sums.len().min(g.ow + columns);
                    add_spaced(gx, &sums[first.min(count)..count], s);
                }
            }
        }
    });
}

/// The row from its first element of phase `b` on, and that element's index in the phase.
fn column<E>(row: &mut [E], stride: usize, b: usize, left: usize) -> (&mut [E], usize) {
    let first = left.saturating_sub(b).div_ceil(stride);
    let start = (first * stride + b).saturating_sub(left).min(row.len());
    (&mut row[start..], first)
}

/// Computes the weight gradient over pairs of (output adjoint, input), or adds it to gw: one task a channel, images in
/// order.
pub(super) fn backward_weight<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], gw: &mut [E], accum: Accum) {
    let plan = Plan::new(g);
    let flat = plan.flat(g).next_multiple_of(SUMS);
    let scratch = || (Buf::zeroed(plan.input.len()), Buf::zeroed(flat));
    each_chunk_with(gw, g.ck(), 1, scratch, |(padded, adjoint), c, gw| {
        let mut total = vec![0.0; g.ck()];
        let mut sums = vec![[E::zero(); SUMS]; g.ck().next_multiple_of(TAPS)];
        for (gy, x) in pairs {
            for i in (c..g.n * g.c).step_by(g.c) {
                spread(g, &plan.input, map(x, i, g.h * g.w), padded);
                for (to, gy) in adjoint.chunks_mut(plan.input.row).zip(map(gy, i, g.l()).chunks_exact(g.ow)) {
                    to[..g.ow].copy_from_slice(gy);
                }
                sums.fill([E::zero(); SUMS]);
                inner_products(&mut sums, adjoint, padded, &plan.taps);
                for (total, sums) in total.iter_mut().zip(&sums) {
                    *total += sums.iter().map(|v| v.wide()).sum::<f64>();
                }
            }
        }
        for (g, s) in gw.iter_mut().zip(total) {
            *g = E::of(if accum.adds() { g.wide() + s } else { s });
        }
    });
}

fn map<E>(x: &[E], i: usize, size: usize) -> &[E] {
    &x[i * size..][..size]
}

/// Copies the part of a map that outputs read into its phases. Elements for padding stay unchanged.
fn spread<E: Elem>(g: &Geometry, layout: &Phases, x: &[E], padded: &mut [E]) {
    let s = g.stride;
    for y in 0..g.h {
        let row = y + g.top;
        if row / s >= layout.rows {
            break;
        }
        for b in 0..s {
            // Elements of this phase: input columns x with (x + left) % s = b.
            let first = g.left.saturating_sub(b).div_ceil(s);
            let from = (first * s + b).saturating_sub(g.left);
            if first >= layout.row || from >= g.w {
                continue;
            }
            let to = &mut padded[layout.at(row, first * s + b)..][..layout.row - first];
            gather(to, &x[y * g.w..][from..g.w], s);
        }
    }
}

simd! {
    /// Copies every `step`-th element of `from` to the front of `to`, until one of them ends.
    fn gather<E: Elem>(to: &mut [E], from: &[E], step: usize) {
        match step {
            1 => {
                let n = to.len().min(from.len());
                to[..n].copy_from_slice(&from[..n]);
            }
            2 => {
                // Written with pairs, because the compiler does not vectorise step_by.
                let pairs = from.chunks_exact(2);
                let last = pairs.remainder().first();
                let n = pairs.len().min(to.len());
                to.iter_mut().zip(pairs).for_each(|(to, from)| *to = from[0]);
                if let (Some(to), Some(last)) = (to.get_mut(n), last) {
                    *to = *last;
                }
            }
            _ => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, from)| *to = *from),
        }
    }
    /// Adds the elements of `from` to every `step`-th element of `to`.
    fn add_spaced<E: Elem>(to: &mut [E], from: &[E], step: usize) {
        match step {
            1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += *from),
            2 => {
                let mut pairs = to.chunks_exact_mut(2);
                let n = pairs.len();
                (&mut pairs).zip(from).for_each(|(to, from)| to[0] += *from);
                if let (Some(to), Some(from)) = (pairs.into_remainder().first_mut(), from.get(n)) {
                    *to += *from;
                }
            }
            _ => to.iter_mut().step_by(step).zip(from).for_each(|(to, from)| *to += *from),
        }
    }
    fn put<E: Elem>(to: &mut [E], from: &[E], accum: Accum) {
        if accum.adds() {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
        } else {
            to.copy_from_slice(from);
        }
    }
    /// Computes `out[i] = Σ w x[i + offset]` over the taps (offset, w) for `count` outputs. Up to [`WIDTH`] − 1 more
    /// may be written.
    fn correlate<E: Elem>(out: &mut [E], x: &[E], taps: &[(usize, E)], count: usize) {
        for (i, out) in out.chunks_exact_mut(WIDTH).enumerate().take(count.div_ceil(WIDTH)) {
            let mut sums = [E::zero(); WIDTH];
            for &(offset, w) in taps {
                let x = &x[i * WIDTH + offset..][..WIDTH];
                for l in 0..WIDTH {
                    sums[l] += w * x[l];
                }
            }
            out.copy_from_slice(&sums);
        }
    }
    /// Adds the products of `g[i]` and `x[i + offsets[k]]` to `sums[k]`, spread over its lanes.
    fn inner_products<E: Elem>(sums: &mut [[E; SUMS]], g: &[E], x: &[E], offsets: &[usize]) {
        for (strip, g) in g.chunks(STRIP).enumerate() {
            for (sums, offsets) in sums.chunks_exact_mut(TAPS).zip(offsets.chunks(TAPS)) {
                // Missing taps read the first tap's elements; their sums are not used.
                let tap = |t: usize| &x[strip * STRIP + offsets[if t < offsets.len() { t } else { 0 }]..][..g.len()];
                let x: [&[E]; TAPS] = std::array::from_fn(tap);
                let mut registers = [sums[0], sums[1], sums[2], sums[3]];
                for (j, g) in g.chunks_exact(SUMS).enumerate() {
                    for t in 0..TAPS {
                        let x = &x[t][j * SUMS..][..SUMS];
                        for l in 0..SUMS {
                            registers[t][l] += g[l] * x[l];
                        }
                    }
                }
                sums.copy_from_slice(&registers);
            }
        }
    }
}
