//! 3x3 stride-2 `f32` convolutions by Winograd's F(4x4, 2x2) on the four phases of the input: 81 products for a 4x4
//! output tile and a pair of channels instead of 144.
//!
//! With one pixel of padding, output row i reads the input rows 2i − 1, 2i, 2i + 1. So odd rows are convolved with the
//! two outer taps and even rows with the middle tap; columns likewise. The result is the sum of a 2x2, two 1x2 and a
//! 1x1 convolution of stride 1. They share their output tiles, and the sum over phases and channels is taken before
//! `Aᵀ M A`. A single tap has no product at ∞, so the phases need 25, 20, 20 and 16 of the 25 products. Phases are
//! ordered even-odd, odd-odd, odd-even, even-even (rows, columns), so that those with products at a point are
//! neighbours.
//!
//! As with stride 1, the smaller operand is transformed once and stays in the caches: here the weights, in [`few`] the
//! tiles.
//!
//! # References
//! Lavin & Gray and Barabasz et al., as cited in [`super`]. Phases: Yepez & Ko, *Stride 2 1-D, 2-D, and 3-D Winograd
//! for Convolutional Neural Networks* (IEEE TVLSI 2020).

mod few;
mod maps;
mod points;
mod weights;

use super::expand::{Image, Maps, Place, Scratch};
use super::{LANES, TILE, Tiles, tile_row, width};
use crate::Accum;
use crate::conv::blocks::{Job, Sums, jobs, sum_over};
use crate::conv::product::{Aligned, Left, Right, product, spread};
use crate::conv::{Geometry, MapPair, Pair};
use crate::parallel::each_chunk_with;
use crate::simd::Level;
use maps::{Kind, Pixels, contract_row, expand, to_maps};
use std::ops::Range;
use weights::Weights;

/// Number of points of one dimension; the last is ∞.
const SIDE: usize = 5;

/// Products of one tile, one phase and one pair of channels.
const POINTS: usize = SIDE * SIDE;

/// Number of phases: even-odd, odd-odd, odd-even, even-even.
const PHASES: usize = 4;

/// Whether each phase is of odd rows, and whether of odd columns.
const ODD: [[bool; 2]; PHASES] = [[false, true], [true, true], [true, false], [false, false]];

/// Bytes of transformed data that a block of tiles may take.
const BLOCK_BYTES: usize = 512 << 10;

/// Sums of a weight gradient of up to so many bytes are private to a part of the batch: a quarter of the second-level
/// cache.
const PRIVATE_BYTES: usize = 256 << 10;

/// Bytes up to which transformed weights stay in the caches while all blocks of tiles stream past them.
const WEIGHT_BYTES: usize = 4 << 20;

/// The phases that have products at a point.
fn phases(point: usize) -> Range<usize> {
    match (point / SIDE == SIDE - 1, point % SIDE == SIDE - 1) {
        (false, false) => 0..4,
        (true, false) => 1..3,
        (false, true) => 0..2,
        (true, true) => 1..2,
    }
}

/// Whether a geometry is of this kind, and tiles cover its maps without much waste.
pub(in super::super) fn pays(g: &Geometry) -> bool {
    let halves = [g.oh, g.ow] == [g.h.div_ceil(2), g.w.div_ceil(2)];
    let kind = (g.kh, g.kw, g.stride, g.groups, g.top, g.left) == (3, 3, 2, 1, 1, 1) && halves;
    let whole = g.c.is_multiple_of(LANES) && g.o.is_multiple_of(LANES);
    let products = 81 * g.oh.div_ceil(TILE) * g.ow.div_ceil(TILE);
    kind && whole && products * 20 <= 9 * g.oh * g.ow * 17
}

fn tiles(g: &Geometry) -> Tiles {
    Tiles { rows: g.oh.div_ceil(TILE), columns: g.ow.div_ceil(TILE) }
}

/// The maps of the input, cut into phases.
fn inputs(g: &Geometry) -> Maps {
    let columns = tiles(g).columns;
    Maps { channels: g.c, h: g.h, w: g.w, padding: 1, columns, step: 2 * TILE, window: 9 }
}

/// The maps of the output's adjoint, in windows of 5 or tiles of 4.
fn adjoints(g: &Geometry, window: usize) -> Maps {
    Maps { channels: g.o, h: g.oh, w: g.ow, padding: 0, columns: tiles(g).columns, step: TILE, window }
}

/// Transforms weights to panels `[lanes / width][POINTS][pair][PHASES][channels][width]`. Also returns the elements of
/// a panel.
fn transformed(level: Level, pairs: &[Weights<'_>]) -> (Aligned, usize) {
    let [channels, lanes] = pairs.first().map_or([0; 2], |w| [w.channels, w.lanes]);
    let width = width(lanes);
    let phase = channels * width;
    let point = pairs.len() * PHASES * phase;
    let mut u = Aligned::new(lanes / width * POINTS * point);
    each_chunk_with(
        &mut u,
        POINTS * point,
        1,
        || weights::scratch(channels, width),
        |taps, i, u| {
            for (p, w) in pairs.iter().enumerate() {
                w.taps(level, 0..channels, i * width, width, taps);
                for q in 0..PHASES {
                    let u = &mut u[(p * PHASES + q) * phase..];
                    w.transform(level, q, taps, channels, width, u, point);
                }
            }
        },
    );
    (u, POINTS * point)
}

/// The weights of pairs. Lanes are their outputs, or their inputs when `rotated`.
fn weights_of<'a>(g: &Geometry, pairs: &[Pair<'a, f32>], rotated: bool) -> Vec<Weights<'a>> {
    let [channels, lanes] = if rotated { [g.o, g.c] } else { [g.c, g.o] };
    pairs.iter().map(|&(_, data)| Weights { data, channels, lanes, rotated }).collect()
}

/// Whether a convolution has so many weights, or so few tiles, that each panel of weights should be transformed just
/// before its products.
fn few_tiles(g: &Geometry) -> bool {
    PHASES * POINTS * g.c * g.o * size_of::<f32>() > WEIGHT_BYTES || g.o >= g.n * tiles(g).count()
}

/// Writes rows of tiles to the outputs of a group of lanes; `m` starts at the first of these tiles.
#[allow(clippy::too_many_arguments)]
fn write_outputs(
    level: Level,
    g: &Geometry,
    rows: Range<usize>,
    m: &[f32],
    [m_point, width]: [usize; 2],
    pixels: &mut [f32],
    y: &mut [f32],
) {
    let columns = tiles(g).columns;
    let to = Pixels { stride: 1, top: 0, left: 0, width: TILE * columns };
    for r in rows.clone() {
        let m = &m[(r - rows.start) * columns * width..];
        contract_row(level, m, m_point, width, columns, [true; 2], to, pixels);
        to_maps(level, pixels, to.width, TILE * r..TILE * (r + 1), [g.oh, g.ow], y, Accum::Replace);
    }
}

/// Writes rows of tiles to the input adjoints of a group of lanes, or adds them. Each phase of the input has products
/// of its own.
#[allow(clippy::too_many_arguments)]
fn write_inputs(
    level: Level,
    g: &Geometry,
    rows: Range<usize>,
    m: [&[f32]; PHASES],
    [m_point, width]: [usize; 2],
    pixels: &mut [f32],
    gx: &mut [f32],
    accum: Accum,
) {
    let columns = tiles(g).columns;
    let across = 2 * TILE * columns;
    for r in rows.clone() {
        for (m, odd) in m.into_iter().zip(ODD) {
            let [top, left] = odd.map(usize::from);
            let to = Pixels { stride: 2, top, left, width: across };
            let m = &m[(r - rows.start) * columns * width..];
            contract_row(level, m, m_point, width, columns, odd, to, pixels);
        }
        to_maps(level, pixels, across, 2 * TILE * r..2 * TILE * (r + 1), [g.h, g.w], gx, accum);
    }
}

/// Workspace for the pixels of a row of tiles of outputs.
fn output_pixels(g: &Geometry) -> Aligned {
    Aligned::new(TILE * TILE * tiles(g).columns * LANES)
}

/// Workspace for the pixels of a row of tiles of inputs.
fn input_pixels(g: &Geometry) -> Aligned {
    Aligned::new(2 * TILE * 2 * TILE * tiles(g).columns * LANES)
}

/// Computes `y = Σ_i conv(x_i, w_i)`.
pub(in super::super) fn forward(level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
    if few_tiles(g) {
        return few::forward(level, g, pairs, y);
    }
    let (tiles, maps, width, depth) = (tiles(g), inputs(g), width(g.o), PHASES * g.c);
    let (u, panel) = transformed(level, &weights_of(g, pairs, false));
    let row = tile_row(depth, pairs.len());
    let target = (BLOCK_BYTES / (POINTS * (row + width) * size_of::<f32>())).clamp(16, 256);
    let cut = tiles.cut(target.min(g.n.div_ceil(rayon::current_num_threads()) * tiles.count()));
    let largest = cut.images * cut.rows * tiles.columns;
    let scratch = || {
        let v = Aligned::new(POINTS * spread(largest * row));
        let m = Aligned::new(POINTS * spread(largest * width));
        (v, m, Scratch::new(&maps), output_pixels(g))
    };
    each_chunk_with(y, g.map() * cut.images, 1, scratch, |(v, m, scratch, pixels), b, y| {
        let images = y.len() / g.map();
        for first in (0..tiles.rows).step_by(cut.rows) {
            let rows = first..(first + cut.rows).min(tiles.rows);
            let each = rows.len() * tiles.columns;
            let count = images * each;
            let (v_point, m_point) = (spread(count * row), spread(count * width));
            for (p, &(of, _)) in pairs.iter().enumerate() {
                for i in 0..images {
                    let x = Image { of, index: b * cut.images + i };
                    let to = Place { point: v_point, row, channel: p * depth, tile: i * each };
                    expand(level, Kind::Phases, &maps, x, rows.clone(), scratch, v, to);
                }
            }
            for (panel, u) in u.chunks_exact(panel).enumerate() {
                for (point, u) in u.chunks_exact(panel_point(pairs, depth, width)).enumerate() {
                    let (m, phases) = (&mut m[point * m_point..], phases(point));
                    for p in 0..pairs.len() {
                        let (at, k) = (p * depth + phases.start * g.c, phases.len() * g.c);
                        let v = Left::Rows(&v[point * v_point + at..], row);
                        let u = Right { data: &u[at * width..], row: width };
                        product(level, [count, k, width], v, u, m, width, Accum::from(p > 0));
                    }
                }
                for i in 0..images {
                    for lane in (0..width).step_by(LANES) {
                        let y = &mut y[i * g.map() + (panel * width + lane) * g.l()..][..LANES * g.l()];
                        let m = &m[i * each * width + lane..];
                        write_outputs(level, g, rows.clone(), m, [m_point, width], pixels, y);
                    }
                }
            }
        }
    });
}

/// Number of elements of one point of a panel of weights.
fn panel_point(pairs: &[Pair<'_, f32>], depth: usize, width: usize) -> usize {
    pairs.len() * depth * width
}

/// Computes `gx = Σ_i convᵀ(gy_i, w_i)` or adds it to gx. Every phase of gx is a convolution of the output's adjoint
/// with rotated taps.
pub(in super::super) fn backward_input(
    level: Level,
    g: &Geometry,
    pairs: &[Pair<'_, f32>],
    gx: &mut [f32],
    accum: Accum,
) {
    if few_tiles(g) {
        return few::backward_input(level, g, pairs, gx, accum);
    }
    let (tiles, maps, width, depth) = (tiles(g), adjoints(g, SIDE), width(g.c), PHASES * g.o);
    let (u, panel) = transformed(level, &weights_of(g, pairs, true));
    let row = tile_row(g.o, pairs.len());
    let target = (BLOCK_BYTES / (POINTS * (row + PHASES * width) * size_of::<f32>())).clamp(16, 256);
    let cut = tiles.cut(target.min(g.n.div_ceil(rayon::current_num_threads()) * tiles.count()));
    let largest = cut.images * cut.rows * tiles.columns;
    let scratch = || {
        let v = Aligned::new(POINTS * spread(largest * row));
        let m = Aligned::new(PHASES * POINTS * spread(largest * width));
        (v, m, Scratch::new(&maps), input_pixels(g))
    };
    each_chunk_with(gx, g.image() * cut.images, 1, scratch, |(v, m, scratch, pixels), b, gx| {
        let images = gx.len() / g.image();
        for first in (0..tiles.rows).step_by(cut.rows) {
            let rows = first..(first + cut.rows).min(tiles.rows);
            let each = rows.len() * tiles.columns;
            let count = images * each;
            let (v_point, m_point) = (spread(count * row), spread(count * width));
            for (p, &(of, _)) in pairs.iter().enumerate() {
                for i in 0..images {
                    let gy = Image { of, index: b * cut.images + i };
                    let to = Place { point: v_point, row, channel: p * g.o, tile: i * each };
                    expand(level, Kind::Windows, &maps, gy, rows.clone(), scratch, v, to);
                }
            }
            for (panel, u) in u.chunks_exact(panel).enumerate() {
                for (point, u) in u.chunks_exact(panel_point(pairs, depth, width)).enumerate() {
                    for phase in phases(point) {
                        let m = &mut m[(phase * POINTS + point) * m_point..];
                        for p in 0..pairs.len() {
                            let v = Left::Rows(&v[point * v_point + p * g.o..], row);
                            let u = Right { data: &u[(p * depth + phase * g.o) * width..], row: width };
                            product(level, [count, g.o, width], v, u, m, width, Accum::from(p > 0));
                        }
                    }
                }
                for i in 0..images {
                    for lane in (0..width).step_by(LANES) {
                        let plane = g.h * g.w;
                        let gx = &mut gx[i * g.image() + (panel * width + lane) * plane..][..LANES * plane];
                        let of_phase = |q| &m[q * POINTS * m_point + i * each * width + lane..];
                        let m = std::array::from_fn(of_phase);
                        write_inputs(level, g, rows.clone(), m, [m_point, width], pixels, gx, accum);
                    }
                }
            }
        }
    });
}

/// Computes the weight gradient over pairs of (output adjoint, input), or adds it to gw.
pub(in super::super) fn backward_weight(
    level: Level,
    g: &Geometry,
    pairs: &[MapPair<'_, f32>],
    gw: &mut [f32],
    accum: Accum,
) {
    let tiles = tiles(g);
    let (of_input, of_adjoint) = (inputs(g), adjoints(g, TILE));
    let (input_row, adjoint_row) = (tile_row(PHASES * g.c, 1), tile_row(g.o, 1));
    let bytes = POINTS * (input_row + adjoint_row) * size_of::<f32>();
    let sums = Sums { units: POINTS, rows: PHASES * g.c, lanes: g.o, private: PRIVATE_BYTES };
    // The larger of sums and operands is in memory once.
    if sums.bytes() > pairs.len() * g.n * tiles.count() * bytes {
        return few::backward_weight(level, g, pairs, gw, accum);
    }
    let cut = tiles.cut((BLOCK_BYTES / bytes).clamp(16, 256));
    let transform = |job: &Job, [inputs, adjoints]: &mut [Scratch; 2]| {
        let (gy, x) = pairs[job.pair];
        let each = job.rows.len() * tiles.columns;
        let count = job.images.len() * each;
        let mut v = Aligned::new(POINTS * spread(count * input_row));
        let mut a = Aligned::new(POINTS * spread(count * adjoint_row));
        for (i, image) in job.images.clone().enumerate() {
            let place = |row| Place { point: spread(count * row), row, channel: 0, tile: i * each };
            let (x, rows) = (Image { of: x, index: image }, job.rows.clone());
            expand(level, Kind::Phases, &of_input, x, rows.clone(), inputs, &mut v, place(input_row));
            let gy = Image { of: gy, index: image };
            expand(level, Kind::Tiles, &of_adjoint, gy, rows, adjoints, &mut a, place(adjoint_row));
        }
        (v, a, count)
    };
    let add =
        |(v, a, count): &(Aligned, Aligned, usize), point: usize, rows: Range<usize>, sum: &mut [f32]| {
            let phases = phases(point);
            let present = rows.start.max(phases.start * g.c)..rows.end.min(phases.end * g.c);
            if present.is_empty() {
                return;
            }
            let v = Left::Columns(&v[point * spread(count * input_row) + present.start..], input_row);
            let a = Right { data: &a[point * spread(count * adjoint_row)..], row: adjoint_row };
            let sum = &mut sum[(present.start - rows.start) * g.o..];
            product(level, [present.len(), *count, g.o], v, a, sum, g.o, Accum::Add);
        };
    let scratch = || [Scratch::new(&of_input), Scratch::new(&of_adjoint)];
    let jobs = jobs(pairs.len(), g.n, tiles.rows, cut);
    let sum = sum_over(sums, &jobs, bytes * cut.images * cut.rows * tiles.columns, scratch, transform, add);
    each_chunk_with(
        gw,
        LANES * g.c * 9,
        1,
        || weights::scratch(g.c, LANES),
        |taps, i, gw| {
            let sum = &sum[i * LANES..];
            weights::transform_back(level, sum, sums.unit(), g.o, 0..g.c, taps, gw, g.c, accum);
        },
    );
}
