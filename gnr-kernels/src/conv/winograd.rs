//! 3x3 stride-1 `f32` convolutions by Winograd's F(2x2, 3x3): each 4x4 input patch gives a 2x2 output tile with 16
//! products per pair of channels instead of 36.
//!
//! `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, where the ⊙ of all channels and tiles is 16 independent matrix products. Tiles are
//! the lanes of the vectors. A block of tiles is so small that its transformed inputs stay in the second-level cache.
//! Input gradients are convolutions with rotated weights; weight gradients are in [`super::winograd_grad`].
//!
//! Rounding errors are about 3 times those of direct summation (the constants are 0, ±1 and ±1/2).
//!
//! # References
//! Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016), section 4.1.
#![allow(unsafe_code)]

use super::blocks::Cut;
use super::lanes::{Lanes, lanes};
use super::product::{Aligned, COLUMNS, Left, PANEL, Right, padded, product, row_of, spread};
use super::winograd_weights::transform_weights;
use super::{Geometry, Slices};
use crate::Accum;
use crate::parallel::each_chunk_with;
use crate::simd::Level;
use std::ops::Range;

/// Products of one tile and one pair of channels: 4 x 4.
pub(super) const POINTS: usize = 16;

/// Bytes of transformed input that one block of tiles may take.
const BLOCK_BYTES: usize = 512 << 10;

/// A 3x3 stride-1 convolution from `cin` maps of `h` x `w` to `cout` maps of `oh` x `ow`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) n: usize,
    pub(super) cin: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) cout: usize,
    pub(super) oh: usize,
    pub(super) ow: usize,
    pub(super) padding: usize,
}

impl Shape {
    /// Whether a geometry is a 3x3 stride-1 convolution that this algorithm can compute.
    pub(super) fn fits(g: &Geometry) -> bool {
        let symmetric = g.top == g.left && [g.oh + 2, g.ow + 2] == [g.h + 2 * g.top, g.w + 2 * g.left];
        (g.kh, g.kw, g.stride, g.groups) == (3, 3, 1, 1) && g.top <= 2 && symmetric
    }

    pub(super) fn forward(g: &Geometry) -> Self {
        Shape { n: g.n, cin: g.c, h: g.h, w: g.w, cout: g.o, oh: g.oh, ow: g.ow, padding: g.top }
    }

    /// The input gradient: a convolution of the output's adjoint with the rotated weights.
    pub(super) fn backward(g: &Geometry) -> Self {
        Shape { n: g.n, cin: g.o, h: g.oh, w: g.ow, cout: g.c, oh: g.h, ow: g.w, padding: 2 - g.top }
    }

    /// Number of rows of tiles.
    pub(super) fn tile_rows(&self) -> usize {
        self.oh.div_ceil(2)
    }

    /// Number of tiles in a row.
    pub(super) fn tile_columns(&self) -> usize {
        self.ow.div_ceil(2)
    }

    /// Number of tiles of one image.
    pub(super) fn tiles(&self) -> usize {
        self.tile_rows() * self.tile_columns()
    }

    /// Cuts a batch into blocks of about `tiles` tiles.
    pub(super) fn cut(&self, tiles: usize) -> Cut {
        Cut::new(self.tile_rows(), self.tile_columns(), tiles)
    }
}

/// Computes `out = Σ_i conv(x_i, w_i)` or adds it to out. `rotated` exchanges the weights' channels and rotates their
/// taps by 180°.
pub(super) fn run(
    level: Level,
    s: Shape,
    pairs: &[Slices<'_, f32>],
    rotated: bool,
    out: &mut [f32],
    accum: Accum,
) {
    let depth = s.cin * pairs.len();
    let weights = transform_weights(level, s, pairs, rotated);
    let per_thread = s.n.div_ceil(rayon::current_num_threads()) * s.tiles();
    let target = (BLOCK_BYTES / (POINTS * depth * size_of::<f32>())).clamp(32, 512);
    let cut = s.cut(target.min(per_thread));
    let (image, map) = (s.cin * s.h * s.w, s.cout * s.oh * s.ow);
    let largest = row_of(cut.images * cut.rows * s.tile_columns());
    let scratch = || {
        let (v, m) = (POINTS * spread(depth * largest), POINTS * spread(PANEL * largest));
        (Aligned::new(v), Aligned::new(m), phases(&s, cut.rows))
    };
    each_chunk_with(out, map * cut.images, 1, scratch, |(v, m, phases), b, out| {
        let images = b * cut.images..(b * cut.images + out.len() / map);
        for first in (0..s.tile_rows()).step_by(cut.rows) {
            let rows = first..(first + cut.rows).min(s.tile_rows());
            let tiles = images.len() * rows.len() * s.tile_columns();
            let row = row_of(tiles);
            let (v_point, m_point) = (spread(depth * row), spread(PANEL * row));
            for (p, (x, _)) in pairs.iter().enumerate() {
                for (i, at) in images.clone().enumerate() {
                    let x = &x[at * image..];
                    let tile = i * rows.len() * s.tile_columns();
                    let to = Place { point: v_point, row, channel: p * s.cin, tile };
                    transform_input(level, &s, x, rows.clone(), phases, v, to);
                }
            }
            for (panel, u) in weights.chunks_exact(POINTS * PANEL * depth).enumerate() {
                let channels = panel * PANEL..((panel + 1) * PANEL).min(s.cout);
                for point in 0..POINTS {
                    let u = Left::Panels(&u[point * PANEL * depth..][..PANEL * depth]);
                    let v = Right { data: &v[point * v_point..], row };
                    let m = &mut m[point * m_point..];
                    product(level, [channels.len(), depth, padded(tiles)], u, v, m, row, Accum::Replace);
                }
                for i in 0..images.len() {
                    let out = &mut out[i * map..][..map];
                    let at = i * rows.len() * s.tile_columns();
                    let from = Place { point: m_point, row, channel: 0, tile: at };
                    transform_output(level, &s, m, from, channels.clone(), rows.clone(), out, accum);
                }
            }
        }
    });
}

/// The place of an image in transformed data: tile `t` of channel `c` at point `p` is element
/// `p point + (channel + c) row + tile + t`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) point: usize,
    pub(super) row: usize,
    pub(super) channel: usize,
    pub(super) tile: usize,
}

/// The rows of one padded map, separated into even and odd columns, so that patches at distance 2 become contiguous.
struct Phases;

impl Phases {
    /// Elements of one separated half row: the tiles, one more column, and room for vectors that run past the end.
    fn half(s: &Shape) -> usize {
        s.tile_columns() + 1 + 2 * COLUMNS
    }
    /// Number of elements for `rows` rows of tiles.
    fn len(s: &Shape, rows: usize) -> usize {
        (2 * rows + 2) * 2 * Self::half(s)
    }
}

/// Separates row `y` of the padded map at the start of `x` into an even and an odd half, one after the other in `to`.
///
/// # Safety
/// `to` has two halves, `y` is a row inside the map, and vectors of `V` are at most [`COLUMNS`] long.
#[inline(always)]
unsafe fn separate<V: Lanes>(s: &Shape, x: &[f32], y: usize, half: usize, to: &mut [f32]) {
    let row = &x[(y - s.padding) * s.w..];
    let (evens, odds) = (s.w.div_ceil(2), s.w / 2);
    // Prefetches this row of the next channel: maps are read for the first time here, and one map is too short for the
    // hardware to foresee.
    for line in (0..s.w).step_by(COLUMNS) {
        V::prefetch(row.as_ptr().wrapping_add(s.h * s.w + line));
    }
    // An odd padding exchanges the parities of image columns and padded columns.
    let shift = s.padding / 2;
    let (even_at, odd_at) =
        if s.padding.is_multiple_of(2) { (shift, half + shift) } else { (half + shift, shift + 1) };
    // SAFETY: a vector pair is read inside `x` or from a copy that is long enough; a half has room for a vector beyond
    // its columns.
    unsafe {
        for t in (0..evens).step_by(V::N) {
            let (even, odd) = if 2 * (t + V::N) <= row.len() {
                V::load_pairs(row.as_ptr().add(2 * t))
            } else {
                let mut tail = [0.0_f32; 2 * COLUMNS];
                let rest = &row[2 * t..];
                tail[..rest.len()].copy_from_slice(rest);
                V::load_pairs(tail.as_ptr())
            };
            even.store(to.as_mut_ptr().add(even_at + t));
            odd.store(to.as_mut_ptr().add(odd_at + t));
        }
    }
    // Clears what lies outside the image, and what the vectors copied from the next row.
    for (at, count) in [(even_at, evens), (odd_at, odds)] {
        let start = if at >= half { half } else { 0 };
        to[start..at].fill(0.0);
        for v in &mut to[at + count..(start + s.tile_columns() + 1).max(at + count)] {
            *v = 0.0;
        }
    }
}

/// Workspace of [`transform_input`] for `rows` rows of tiles.
pub(super) fn phases(s: &Shape, rows: usize) -> Aligned {
    Aligned::new(Phases::len(s, rows))
}

/// Computes `Bᵀ d B` of every tile of the rows `rows` of the image [cin, h, w] at the start of `x`. Elements behind the
/// image may be read, but are not used.
pub(super) fn transform_input(
    level: Level,
    s: &Shape,
    x: &[f32],
    rows: Range<usize>,
    phases: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    assert!(x.len() >= s.cin * s.h * s.w && phases.len() >= Phases::len(s, rows.len()));
    assert!(
        to.tile + rows.len() * s.tile_columns() + COLUMNS <= to.row
            && (to.channel + s.cin) * to.row <= to.point
    );
    assert!(v.len() >= POINTS * to.point && rows.end <= s.tile_rows());
    // SAFETY: the assertions bound every access; vectors of at most COLUMNS floats run past the last tile of a row by
    // less than COLUMNS.
    unsafe {
        match s.tile_columns() {
            0..=4 => input_four(level, s, x, rows, phases, v, to),
            5..=8 => input_eight(level, s, x, rows, phases, v, to),
            _ => input_wide(level, s, x, rows, phases, v, to),
        }
    }
}

lanes!(wide fn input_wide(s: &Shape, x: &[f32], rows: Range<usize>, phases: &mut [f32], v: &mut [f32], to: Place) = input_body);
lanes!(eight fn input_eight(s: &Shape, x: &[f32], rows: Range<usize>, phases: &mut [f32], v: &mut [f32], to: Place) = input_body);
lanes!(four fn input_four(s: &Shape, x: &[f32], rows: Range<usize>, phases: &mut [f32], v: &mut [f32], to: Place) = input_body);

/// Transforms the tiles of some rows.
///
/// # Safety
/// The assertions of [`transform_input`] hold.
#[inline(always)]
unsafe fn input_body<V: Lanes>(
    s: &Shape,
    x: &[f32],
    rows: Range<usize>,
    phases: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    let (half, columns) = (Phases::half(s), s.tile_columns());
    if s.padding == 1 && columns <= V::N {
        // SAFETY: the caller upholds the assertions of `transform_input`; a row of tiles fits a vector.
        return unsafe { input_narrow::<V>(s, x, rows, v, to) };
    }
    for c in 0..s.cin {
        let x = &x[c * s.h * s.w..];
        for (r, separated) in phases.chunks_exact_mut(2 * half).take(2 * rows.len() + 2).enumerate() {
            let y = 2 * rows.start + r;
            if y < s.padding || y >= s.h + s.padding {
                separated.fill(0.0);
            } else {
                // SAFETY: y is inside the map, and `separated` has two halves.
                unsafe { separate::<V>(s, x, y, half, separated) };
            }
        }
        // SAFETY: tile t of row r reads columns t and t + 1 of four separated rows. At each of 16 points, tile
        // `to.tile + r columns + t` of channel `to.channel + c` is written. Rows are written in ascending order, so
        // what one writes past its end, the next overwrites.
        unsafe {
            let v = v.as_mut_ptr().add((to.channel + c) * to.row + to.tile);
            for r in 0..rows.len() {
                for t in (0..columns).step_by(V::N) {
                    let row = |i: usize| {
                        let even = phases.as_ptr().add((2 * r + i) * 2 * half + t);
                        let odd = even.add(half);
                        let (d0, d1, d2, d3) =
                            (V::load(even), V::load(odd), V::load(even.add(1)), V::load(odd.add(1)));
                        [d0.sub(d2), d1.add(d2), d2.sub(d1), d1.sub(d3)]
                    };
                    let (d0, d1, d2, d3) = (row(0), row(1), row(2), row(3));
                    let at = v.add(r * columns + t);
                    for j in 0..4 {
                        d0[j].sub(d2[j]).store(at.add(j * to.point));
                        d1[j].add(d2[j]).store(at.add((4 + j) * to.point));
                        d2[j].sub(d1[j]).store(at.add((8 + j) * to.point));
                        d1[j].sub(d3[j]).store(at.add((12 + j) * to.point));
                    }
                }
            }
        }
    }
}

/// Transforms the tiles of some rows of a map that is at most one vector of tiles wide and padded by one pixel. No
/// workspace is needed: a row of the map is separated and transformed in registers, and serves two rows of tiles.
///
/// # Safety
/// The assertions of [`transform_input`] hold, and a row has at most [`Lanes::N`] tiles.
#[inline(always)]
unsafe fn input_narrow<V: Lanes>(s: &Shape, x: &[f32], rows: Range<usize>, v: &mut [f32], to: Place) {
    let (columns, evens, odds) = (s.tile_columns(), s.w.div_ceil(2), s.w / 2);
    for c in 0..s.cin {
        let x = &x[c * s.h * s.w..];
        // `d B` of row `y` of the padded map. Its columns 0, 2, … are the odd columns of the image, one tile later.
        let row = |y: usize| {
            if y == 0 || y > s.h {
                // SAFETY: the machine has the instruction set of V.
                return [unsafe { V::splat(0.0) }; 4];
            }
            let row = &x[(y - 1) * s.w..];
            V::prefetch(row.as_ptr().wrapping_add(s.h * s.w));
            // SAFETY: a vector pair is read inside `x` or from a copy that is long enough.
            unsafe {
                let (even, odd) = if 2 * V::N <= row.len() {
                    V::load_pairs(row.as_ptr())
                } else {
                    let mut tail = [0.0_f32; 2 * COLUMNS];
                    tail[..row.len()].copy_from_slice(row);
                    V::load_pairs(tail.as_ptr())
                };
                let (d1, d2) = (even.keep(evens), odd.keep(odds));
                let (d0, d3) = (d2.shift_up(), d1.shift_down());
                [d0.sub(d2), d1.add(d2), d2.sub(d1), d1.sub(d3)]
            }
        };
        let (mut d0, mut d1) = (row(2 * rows.start), row(2 * rows.start + 1));
        for (r, above) in rows.clone().enumerate() {
            let (d2, d3) = (row(2 * above + 2), row(2 * above + 3));
            // SAFETY: tile `to.tile + r columns + t` of channel `to.channel + c` is written at each of 16 points. Rows
            // are written in ascending order, so what one writes past its end, the next overwrites.
            unsafe {
                let at = v.as_mut_ptr().add((to.channel + c) * to.row + to.tile + r * columns);
                for j in 0..4 {
                    d0[j].sub(d2[j]).store(at.add(j * to.point));
                    d1[j].add(d2[j]).store(at.add((4 + j) * to.point));
                    d2[j].sub(d1[j]).store(at.add((8 + j) * to.point));
                    d1[j].sub(d3[j]).store(at.add((12 + j) * to.point));
                }
            }
            (d0, d1) = (d2, d3);
        }
    }
}

/// Computes `Aᵀ m A` of one image's tiles in a panel of products `m`. Writes the maps `channels` of one image, or adds
/// to them.
#[allow(clippy::too_many_arguments)]
fn transform_output(
    level: Level,
    s: &Shape,
    m: &[f32],
    from: Place,
    channels: Range<usize>,
    rows: Range<usize>,
    out: &mut [f32],
    accum: Accum,
) {
    assert!(
        from.tile + rows.len() * s.tile_columns() + COLUMNS <= from.row && PANEL * from.row <= from.point
    );
    assert!(m.len() >= POINTS * from.point);
    assert!(channels.len() <= PANEL && channels.end * s.oh * s.ow <= out.len() && rows.end <= s.tile_rows());
    // SAFETY: the assertions bound every access.
    unsafe {
        match s.tile_columns() {
            0..=4 => output_four(level, s, m, from, channels, rows, out, accum),
            5..=8 => output_eight(level, s, m, from, channels, rows, out, accum),
            _ => output_wide(level, s, m, from, channels, rows, out, accum),
        }
    }
}

lanes!(wide fn output_wide(s: &Shape, m: &[f32], from: Place, channels: Range<usize>, rows: Range<usize>, out: &mut [f32], accum: Accum) = output_body);
lanes!(eight fn output_eight(s: &Shape, m: &[f32], from: Place, channels: Range<usize>, rows: Range<usize>, out: &mut [f32], accum: Accum) = output_body);
lanes!(four fn output_four(s: &Shape, m: &[f32], from: Place, channels: Range<usize>, rows: Range<usize>, out: &mut [f32], accum: Accum) = output_body);

/// Transforms the products of some rows of tiles back.
///
/// # Safety
/// The assertions of [`transform_output`] hold.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn output_body<V: Lanes>(
    s: &Shape,
    m: &[f32],
    from: Place,
    channels: Range<usize>,
    rows: Range<usize>,
    out: &mut [f32],
    accum: Accum,
) {
    let mut lines = [[0.0_f32; 2 * COLUMNS]; 2];
    for (c, channel) in channels.enumerate() {
        let map = &mut out[channel * s.oh * s.ow..][..s.oh * s.ow];
        for r in rows.clone() {
            for t in (0..s.tile_columns()).step_by(V::N) {
                let width = (s.ow - 2 * t).min(2 * V::N);
                // SAFETY: the loads read tiles of the channel's row, which has room for a vector beyond the last. A
                // vector pair fits a line, and a full one fits the map.
                unsafe {
                    let at = (c * from.row) + from.tile + (r - rows.start) * s.tile_columns() + t;
                    let at = m.as_ptr().add(at);
                    let point = |i: usize, j: usize| V::load(at.add((4 * i + j) * from.point));
                    let column = |j: usize| {
                        let (m0, m1, m2, m3) = (point(0, j), point(1, j), point(2, j), point(3, j));
                        (m0.add(m1).add(m2), m1.sub(m2).sub(m3))
                    };
                    let (c0, c1, c2, c3) = (column(0), column(1), column(2), column(3));
                    let top = (c0.0.add(c1.0).add(c2.0), c1.0.sub(c2.0).sub(c3.0));
                    let bottom = (c0.1.add(c1.1).add(c2.1), c1.1.sub(c2.1).sub(c3.1));
                    if width == 2 * V::N && 2 * r + 1 < s.oh && !accum.adds() {
                        let to = map.as_mut_ptr().add(2 * r * s.ow + 2 * t);
                        V::store_pairs(top.0, top.1, to);
                        V::store_pairs(bottom.0, bottom.1, to.add(s.ow));
                        continue;
                    }
                    V::store_pairs(top.0, top.1, lines[0].as_mut_ptr());
                    V::store_pairs(bottom.0, bottom.1, lines[1].as_mut_ptr());
                }
                for (y, line) in (2 * r..s.oh).zip(&lines) {
                    let to = &mut map[y * s.ow + 2 * t..][..width];
                    if accum.adds() {
                        to.iter_mut().zip(line).for_each(|(o, l)| *o += l);
                    } else {
                        to.copy_from_slice(&line[..width]);
                    }
                }
            }
        }
    }
}
