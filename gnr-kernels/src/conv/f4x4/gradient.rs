//! The weight gradient: `∂g = Gᵀ [ Σ over tiles (A ∂Y Aᵀ) ⊙ (Bᵀ d B) ] G`. The sum over tiles is 36 products [cin,
//! tiles] x [tiles, cout].
//!
//! With few channels, each part of the batch has sums of its own. With more, the tiles of a group of blocks are
//! transformed first, and the products run in parallel over the points; their sums stay until the last group. With many
//! channels, the sums would be large. Then the products run in parallel over output channels, and their sums are
//! transformed back after every group, while they are in the cache.

use super::super::blocks::{Job, added, jobs};
use super::super::product::{Aligned, Left, Right, padded, product, spread};
use super::super::winograd::Shape;
use super::super::{MapPair, PARTS};
use super::expand::{Image, Maps, Place, Scratch, expand};
use super::{LANES, POINTS, TILE, Tiles, tile_row, weights, width};
use crate::Accum;
use crate::parallel::{chunk, collect, each_chunk, each_chunk_with, each_with};
use crate::simd::Level;

/// Bytes of transformed data that a block of tiles may take.
const BLOCK_BYTES: usize = 512 << 10;

/// Sums of up to so many bytes are private to a part of the batch.
const PRIVATE_BYTES: usize = 256 << 10;

/// Sums of up to so many bytes are shared, and the products run in parallel over points.
const SHARED_BYTES: usize = 5 << 19;

/// Least bytes of transformed data in memory at a time when the sums are shared. A group takes about as many as the
/// sums, within these bounds.
const LEAST_GROUP: usize = 4 << 20;
/// Most bytes of transformed data in memory at a time when the sums are shared.
const LARGEST_GROUP: usize = 6 << 20;

/// Input channels whose sums are in memory at a time: 36 · 128 · 32 floats are 576 KiB.
const BAND: usize = 128;

/// A transformed block of tiles: inputs and adjoints as `[POINTS][tiles][row]`, with points [`spread`] apart.
struct Block {
    tiles: usize,
    inputs: Aligned,
    adjoints: Aligned,
}

impl Block {
    /// A block without tiles. One block serves many jobs in turn, so its memory stays in the caches.
    fn new() -> Self {
        Self { tiles: 0, inputs: Aligned::new(0), adjoints: Aligned::new(0) }
    }
}

/// The data that all blocks of a weight gradient share.
struct Layer<'a> {
    level: Level,
    s: &'a Shape,
    tiles: Tiles,
    inputs: Maps,
    adjoints: Maps,
    /// Distances between tiles.
    input_row: usize,
    adjoint_row: usize,
}

impl Layer<'_> {
    fn scratch(&self) -> [Scratch; 2] {
        [Scratch::new(&self.inputs), Scratch::new(&self.adjoints)]
    }

    fn transform(
        &self,
        (gy, x): MapPair<'_, f32>,
        job: &Job,
        [inputs, adjoints]: &mut [Scratch; 2],
        block: &mut Block,
    ) {
        let each = job.rows.len() * self.tiles.columns;
        let count = job.images.len() * each;
        block.tiles = count;
        for (maps, from, row, scratch, to) in [
            (&self.inputs, x, self.input_row, inputs, &mut block.inputs),
            (&self.adjoints, gy, self.adjoint_row, adjoints, &mut block.adjoints),
        ] {
            to.fit(POINTS * spread(count * row));
            for (i, index) in job.images.clone().enumerate() {
                let place = Place { point: spread(count * row), row, channel: 0, tile: i * each };
                let image = Image { of: from, index };
                expand(self.level, maps, image, job.rows.clone(), scratch, to, place);
            }
        }
    }

    /// Number of outputs that sums over all channels have room for, and the distance between points.
    fn sums(&self) -> [usize; 2] {
        let width = padded(self.s.cout);
        [width, spread(self.s.cin * width)]
    }

    /// Runs [`transform`](Self::transform) for all `jobs` in parallel and returns their blocks, the first ones of
    /// `blocks`.
    fn transform_all<'b>(
        &self,
        pairs: &[MapPair<'_, f32>],
        jobs: &[Job],
        blocks: &'b mut [Block],
    ) -> &'b [Block] {
        let blocks = &mut blocks[..jobs.len()];
        each_with(
            blocks,
            1,
            || self.scratch(),
            |scratch, i, block| self.transform(pairs[jobs[i].pair], &jobs[i], scratch, block),
        );
        blocks
    }

    /// Computes `sum [channels, width] = inputs[point, :, channels]ᵀ adjoints[point, :, outputs]`, or adds it to sum.
    #[allow(clippy::too_many_arguments)]
    fn multiply(
        &self,
        block: &Block,
        point: usize,
        first: usize,
        channels: usize,
        output: usize,
        width: usize,
        sum: &mut [f32],
        accum: Accum,
    ) {
        let inputs = &block.inputs[point * spread(block.tiles * self.input_row) + first..];
        let adjoints = &block.adjoints[point * spread(block.tiles * self.adjoint_row) + output..];
        let size = [channels, block.tiles, width];
        let (left, right) =
            (Left::Columns(inputs, self.input_row), Right { data: adjoints, row: self.adjoint_row });
        product(self.level, size, left, right, sum, width, accum);
    }
}

/// Computes the weight gradient `gw [cout, cin, 3, 3]` over pairs of (output adjoint, input), or adds it to gw.
pub(in super::super) fn run(
    level: Level,
    s: Shape,
    pairs: &[MapPair<'_, f32>],
    gw: &mut [f32],
    accum: Accum,
) {
    let tiles = Tiles::of(&s);
    let columns = tiles.columns;
    let layer = Layer {
        level,
        s: &s,
        tiles,
        inputs: Maps {
            channels: s.cin,
            h: s.h,
            w: s.w,
            padding: s.padding,
            columns,
            step: TILE,
            window: TILE + 2,
        },
        adjoints: Maps { channels: s.cout, h: s.oh, w: s.ow, padding: 0, columns, step: TILE, window: TILE },
        input_row: tile_row(s.cin, 1),
        adjoint_row: tile_row(s.cout, 1),
    };
    let bytes = POINTS * (layer.input_row + layer.adjoint_row) * size_of::<f32>();
    let cut = tiles.cut((BLOCK_BYTES / bytes).clamp(32, 256));
    let jobs = jobs(pairs.len(), s.n, tiles.rows, cut);
    let sums = POINTS * s.cin * padded(s.cout) * size_of::<f32>();
    let block = bytes * cut.images * cut.rows * columns;
    if sums <= PRIVATE_BYTES {
        by_parts(&layer, pairs, &jobs, gw, accum);
    } else if sums <= SHARED_BYTES {
        by_points(&layer, pairs, &jobs, (LEAST_GROUP / block).max(1).next_multiple_of(4), gw, accum);
    } else {
        let group = (sums.clamp(LEAST_GROUP, LARGEST_GROUP) / block).max(2);
        by_outputs(&layer, pairs, &jobs, group, gw, accum);
    }
}

/// Runs in parallel over parts of the batch, each with sums of its own.
fn by_parts(layer: &Layer<'_>, pairs: &[MapPair<'_, f32>], jobs: &[Job], gw: &mut [f32], accum: Accum) {
    let s = layer.s;
    let [width, point] = layer.sums();
    let size = jobs.len().div_ceil(PARTS).max(1);
    let part = |i| {
        let (mut sum, mut scratch, mut block) =
            (Aligned::zeroed(POINTS * point), layer.scratch(), Block::new());
        for job in chunk(jobs, size, i) {
            layer.transform(pairs[job.pair], job, &mut scratch, &mut block);
            for (p, sum) in sum.chunks_exact_mut(point).enumerate() {
                layer.multiply(&block, p, 0, s.cin, 0, width, sum, Accum::Add);
            }
        }
        sum
    };
    let parts = collect(jobs.len().div_ceil(size), 1, part);
    finish(layer, &added(parts, POINTS * point), gw, accum);
}

/// Runs in parallel over points, whose sums stay in memory from group to group.
fn by_points(
    layer: &Layer<'_>,
    pairs: &[MapPair<'_, f32>],
    jobs: &[Job],
    group: usize,
    gw: &mut [f32],
    accum: Accum,
) {
    let s = layer.s;
    let [width, point] = layer.sums();
    let mut sum = Aligned::zeroed(POINTS * point);
    let mut blocks: Vec<_> = (0..group.min(jobs.len())).map(|_| Block::new()).collect();
    for jobs in jobs.chunks(group) {
        let blocks = layer.transform_all(pairs, jobs, &mut blocks);
        each_chunk(&mut sum, point, 1, |p, sum| {
            blocks.iter().for_each(|block| layer.multiply(block, p, 0, s.cin, 0, width, sum, Accum::Add));
        });
    }
    finish(layer, &sum, gw, accum);
}

/// Transforms the sums over the whole batch back to the weight gradient.
fn finish(layer: &Layer<'_>, sum: &[f32], gw: &mut [f32], accum: Accum) {
    let Layer { level, s, .. } = *layer;
    let [width, point] = layer.sums();
    each_chunk_with(
        gw,
        LANES * s.cin * 9,
        1,
        || weights::scratch(s.cin),
        |taps, i, gw| {
            let sum = &sum[i * LANES..];
            weights::transform_back(level, s, sum, point, width, 0..s.cin, taps, gw, accum);
        },
    );
}

/// Runs in parallel over output channels, whose sums are transformed back after each group.
fn by_outputs(
    layer: &Layer<'_>,
    pairs: &[MapPair<'_, f32>],
    jobs: &[Job],
    group: usize,
    gw: &mut [f32],
    accum: Accum,
) {
    let Layer { level, s, .. } = *layer;
    let width = width(s.cout);
    let scratch = || (weights::scratch(BAND), Aligned::new(POINTS * spread(BAND * width)));
    let mut blocks: Vec<_> = (0..group.min(jobs.len())).map(|_| Block::new()).collect();
    for (g, jobs) in jobs.chunks(group).enumerate() {
        let blocks = layer.transform_all(pairs, jobs, &mut blocks);
        each_chunk_with(gw, width * s.cin * 9, 1, scratch, |(taps, sum), i, gw| {
            for first in (0..s.cin).step_by(BAND) {
                let channels = first..(first + BAND).min(s.cin);
                let point = spread(channels.len() * width);
                for p in 0..POINTS {
                    for (b, block) in blocks.iter().enumerate() {
                        let sum = &mut sum[p * point..];
                        layer.multiply(
                            block,
                            p,
                            first,
                            channels.len(),
                            i * width,
                            width,
                            sum,
                            Accum::from(b > 0),
                        );
                    }
                }
                let accum = accum.or(g > 0);
                weights::transform_back(level, s, sum, point, width, channels, taps, gw, accum);
            }
        });
    }
}
