//! Convolutions of many channels over few tiles.
//!
//! All tiles are transformed once. Panels of weights are transformed in the second-level cache, a phase and some
//! channels at a time, just before their products. Panels of sums of the weight gradient are transformed back while
//! they are in that cache.

use super::super::expand::{Image, Maps, Place, Scratch};
use super::maps::{Kind, expand};
use super::weights::{self, Weights};
use super::{
    LANES, PHASES, POINTS, TILE, adjoints, input_pixels, inputs, output_pixels, phases, tile_row, tiles,
    weights_of, width, write_inputs, write_outputs,
};
use crate::Accum;
use crate::conv::product::{Aligned, Left, Right, product, spread};
use crate::conv::{Geometry, MapPair, Pair};
use crate::operand::Operand;
use crate::parallel::each_chunk_with;
use crate::simd::Level;
use std::ops::Range;

/// Channels of a phase whose weights are transformed at a time: 25 · 128 · 32 floats are 400 KiB.
const DEPTH: usize = 128;

/// About how many tiles a block has: products read a block at a time.
const TILES: usize = 64;

/// Bytes of transformed operands and products in memory at a time. They limit the images of a group; one image is the
/// least. Tests use small groups.
const GROUP_BYTES: usize = if cfg!(test) { 1 << 20 } else { 24 << 20 };

/// Input channels whose sums of a weight gradient are in memory at a time: 25 · 4 · 64 · 32 floats are 800 KiB.
const BAND: usize = 64;

/// How the operands of several pairs lie in a block.
#[derive(Clone, Copy)]
enum Order {
    /// Side by side: a tile has the channels of all operands.
    Channels,
    /// One after the other: an operand's tiles follow those of the operand before.
    Tiles,
}

/// All tiles of some images, transformed: `[blocks][POINTS][tiles][row]`, with points `point` apart.
struct Transformed {
    /// Images of a block, images of all blocks, and tiles of an image. With `Order::Tiles`, the last number counts the
    /// tiles of all operands.
    images: usize,
    n: usize,
    each: usize,
    point: usize,
    row: usize,
    /// Distance between the channels of two operands, and between those of two phases.
    operand: usize,
    phase: usize,
    data: Aligned,
}

impl Transformed {
    /// Transforms the images `of` of the `operands`, in blocks of `images`.
    #[allow(clippy::too_many_arguments)]
    fn new(
        level: Level,
        (kind, maps): (Kind, &Maps),
        [rows, each]: [usize; 2],
        operands: &[Operand<'_, f32>],
        order: Order,
        of: Range<usize>,
        images: usize,
    ) -> Self {
        let (operand, phase) = match kind {
            Kind::Phases => (PHASES * maps.channels, maps.channels),
            Kind::Windows | Kind::Tiles => (maps.channels, 0),
        };
        let (beside, after) = match order {
            Order::Channels => (operands.len(), 1),
            Order::Tiles => (1, operands.len()),
        };
        let (n, row) = (of.len(), tile_row(operand, beside));
        let point = spread(images * after * each * row);
        let mut data = Aligned::new(n.div_ceil(images) * POINTS * point);
        each_chunk_with(
            &mut data,
            POINTS * point,
            1,
            || Scratch::new(maps),
            |scratch, block, v| {
                let here = images.min(n - block * images);
                for i in 0..here {
                    for (p, &values) in operands.iter().enumerate() {
                        let x = Image { of: values, index: of.start + block * images + i };
                        let (channel, tile) = match order {
                            Order::Channels => (p * operand, i * each),
                            Order::Tiles => (0, (p * here + i) * each),
                        };
                        let to = Place { point, row, channel, tile };
                        expand(level, kind, maps, x, 0..rows, scratch, v, to);
                    }
                }
            },
        );
        Self { images, n, each: after * each, point, row, operand, phase, data }
    }

    /// Transforms the first operands of pairs. How many images a block has changes no bit.
    fn of_pairs(
        level: Level,
        g: &Geometry,
        of: (Kind, &Maps),
        pairs: &[Pair<'_, f32>],
        here: Range<usize>,
    ) -> Self {
        let tiles = tiles(g);
        let (each, threads) = (tiles.count(), rayon::current_num_threads());
        let images = (TILES / each).clamp(1, here.len().div_ceil(threads).max(1));
        let operands: Vec<_> = pairs.iter().map(|&(x, _)| x).collect();
        Self::new(level, of, [tiles.rows, each], &operands, Order::Channels, here, images)
    }

    /// The data at a point, from tile 0 and channel 0 of an operand and a phase on.
    fn at(&self, block: usize, point: usize, operand: usize, phase: usize) -> &[f32] {
        &self.data[(block * POINTS + point) * self.point + operand * self.operand + phase * self.phase..]
    }

    fn blocks(&self) -> usize {
        self.n.div_ceil(self.images)
    }

    /// Number of tiles of a block.
    fn tiles(&self, block: usize) -> usize {
        self.images.min(self.n - block * self.images) * self.each
    }
}

/// Products of panels of `width` lanes with all tiles, summed over `sums` phases:
/// `[lanes / width][PHASES / sums][blocks][POINTS][tiles][width]`, with points `point` apart.
struct Products {
    data: Aligned,
    point: usize,
    width: usize,
    blocks: usize,
    phases: usize,
}

impl Products {
    fn new(level: Level, weights: &[Weights<'_>], v: &Transformed, sums: usize) -> Self {
        let [channels, lanes] = weights.first().map_or([0; 2], |w| [w.channels, w.lanes]);
        let (width, blocks, groups) = (width(lanes), v.blocks(), PHASES / sums);
        let point = spread(v.images * v.each * width);
        let mut data = Aligned::new(lanes / width * groups * blocks * POINTS * point);
        let depth = DEPTH.min(channels);
        each_chunk_with(
            &mut data,
            blocks * POINTS * point,
            1,
            || (weights::scratch(depth, width), Aligned::new(POINTS * spread(depth * width))),
            |(taps, u), i, m| {
                let (panel, group) = (i / groups, i % groups * sums..(i % groups + 1) * sums);
                for (p, w) in weights.iter().enumerate() {
                    for first in (0..channels).step_by(depth.max(1)) {
                        let here = first..(first + depth).min(channels);
                        let (k, u_point) = (here.len(), spread(here.len() * width));
                        w.taps(level, here, panel * width, width, taps);
                        for phase in group.clone() {
                            w.transform(level, phase, taps, k, width, u, u_point);
                            for at in (0..POINTS).filter(|at| phases(*at).contains(&phase)) {
                                let accum = Accum::from(
                                    p > 0 || first > 0 || phase > phases(at).start.max(group.start),
                                );
                                for block in 0..blocks {
                                    let of = &v.at(block, at, p, phase)[first..];
                                    let u = Right { data: &u[at * u_point..], row: width };
                                    let m = &mut m[(block * POINTS + at) * point..];
                                    let size = [v.tiles(block), k, width];
                                    product(level, size, Left::Rows(of, v.row), u, m, width, accum);
                                }
                            }
                        }
                    }
                }
            },
        );
        Self { data, point, width, blocks, phases: groups }
    }

    /// The products of a group of lanes and a group of phases, from a tile of a block on.
    fn at(&self, lane: usize, phase: usize, block: usize, tile: usize) -> &[f32] {
        let (panel, lane) = (lane / self.width, lane % self.width);
        let at = ((panel * self.phases + phase) * self.blocks + block) * POINTS * self.point;
        &self.data[at..][..POINTS * self.point][tile * self.width + lane..]
    }
}

/// Runs `f(memory, block, first tile, image)` for every image, in parallel over blocks.
fn each_image<T>(
    v: &Transformed,
    out: &mut [f32],
    image: usize,
    memory: impl Fn() -> T + Sync + Send,
    f: impl Fn(&mut T, usize, usize, &mut [f32]) + Sync + Send,
) {
    each_chunk_with(out, image * v.images, 1, memory, |memory, block, out| {
        out.chunks_exact_mut(image).enumerate().for_each(|(i, out)| f(memory, block, i * v.each, out));
    });
}

/// Number of images that are transformed at a time. Their tiles, with `channels` in all, take at most [`GROUP_BYTES`]
/// unless it is one image.
fn group(g: &Geometry, channels: usize) -> usize {
    (GROUP_BYTES / (POINTS * tiles(g).count() * channels * size_of::<f32>()).max(1)).max(1)
}

/// Computes `y = Σ_i conv(x_i, w_i)`.
pub(super) fn forward(level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
    let (rows, weights) = (0..tiles(g).rows, weights_of(g, pairs, false));
    let group = group(g, pairs.len() * PHASES * g.c + g.o);
    for (first, y) in (0..).step_by(group).zip(y.chunks_mut(group * g.map())) {
        let here = first..first + y.len() / g.map();
        let v = Transformed::of_pairs(level, g, (Kind::Phases, &inputs(g)), pairs, here);
        let m = Products::new(level, &weights, &v, PHASES);
        each_image(
            &v,
            y,
            g.map(),
            || output_pixels(g),
            |pixels, block, tile, y| {
                for (i, y) in y.chunks_exact_mut(LANES * g.l()).enumerate() {
                    let of = m.at(i * LANES, 0, block, tile);
                    write_outputs(level, g, rows.clone(), of, [m.point, m.width], pixels, y);
                }
            },
        );
    }
}

/// Computes `gx = Σ_i convᵀ(gy_i, w_i)` or adds it to gx.
pub(super) fn backward_input(
    level: Level,
    g: &Geometry,
    pairs: &[Pair<'_, f32>],
    gx: &mut [f32],
    accum: Accum,
) {
    let (rows, weights) = (0..tiles(g).rows, weights_of(g, pairs, true));
    let group = group(g, pairs.len() * g.o + PHASES * g.c);
    for (first, gx) in (0..).step_by(group).zip(gx.chunks_mut(group * g.image())) {
        let here = first..first + gx.len() / g.image();
        let v = Transformed::of_pairs(level, g, (Kind::Windows, &adjoints(g, super::SIDE)), pairs, here);
        let m = Products::new(level, &weights, &v, 1);
        each_image(
            &v,
            gx,
            g.image(),
            || input_pixels(g),
            |pixels, block, tile, gx| {
                for (i, gx) in gx.chunks_exact_mut(LANES * g.h * g.w).enumerate() {
                    let of = std::array::from_fn(|phase| m.at(i * LANES, phase, block, tile));
                    write_inputs(level, g, rows.clone(), of, [m.point, m.width], pixels, gx, accum);
                }
            },
        );
    }
}

/// Computes the weight gradient over pairs of (output adjoint, input), or adds it to gw: in parallel over panels of
/// outputs.
pub(super) fn backward_weight(
    level: Level,
    g: &Geometry,
    pairs: &[MapPair<'_, f32>],
    gw: &mut [f32],
    accum: Accum,
) {
    let (tiles, width) = (tiles(g), width(g.o));
    let (each, of_input, of_adjoint) = (tiles.count(), inputs(g), adjoints(g, TILE));
    let (adjoint, input): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    // These sizes do not depend on the number of threads, because blocks and groups determine the partial sums.
    let images = (TILES / (pairs.len() * each)).clamp(1, g.n.max(1));
    let group = group(g, pairs.len() * (PHASES * g.c + g.o)).next_multiple_of(images);
    for first in (0..g.n).step_by(group) {
        let here = first..(first + group).min(g.n);
        let transformed = |of: (Kind, &Maps), operands: &[Operand<'_, f32>]| {
            let rows = [tiles.rows, each];
            Transformed::new(level, of, rows, operands, Order::Tiles, here.clone(), images)
        };
        let v = transformed((Kind::Phases, &of_input), &input);
        let a = transformed((Kind::Tiles, &of_adjoint), &adjoint);
        let accum = accum.or(first > 0);
        each_chunk_with(
            gw,
            width * g.c * 9,
            1,
            || (weights::scratch(BAND, LANES), Aligned::new(POINTS * spread(PHASES * BAND * width))),
            |(taps, sum), i, gw| {
                for first in (0..g.c).step_by(BAND) {
                    let channels = first..(first + BAND).min(g.c);
                    let (phase, point) = (channels.len() * width, spread(PHASES * channels.len() * width));
                    for at in 0..POINTS {
                        for q in phases(at) {
                            let sum = &mut sum[at * point + q * phase..];
                            for block in 0..v.blocks() {
                                let left = Left::Columns(&v.at(block, at, 0, q)[first..], v.row);
                                let right = Right { data: &a.at(block, at, 0, 0)[i * width..], row: a.row };
                                let size = [channels.len(), v.tiles(block), width];
                                product(level, size, left, right, sum, width, Accum::from(block > 0));
                            }
                        }
                    }
                    for (lanes, gw) in gw.chunks_exact_mut(LANES * g.c * 9).enumerate() {
                        let sum = &sum[lanes * LANES..];
                        weights::transform_back(
                            level,
                            sum,
                            point,
                            width,
                            channels.clone(),
                            taps,
                            gw,
                            g.c,
                            accum,
                        );
                    }
                }
            },
        );
    }
}
