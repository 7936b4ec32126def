//! The weight gradient of 3x3 stride-1 `f32` convolutions, by the transpose of [`super::winograd`]'s algorithm.
//!
//! `∂g = Gᵀ [ Σ over tiles (A ∂Y Aᵀ) ⊙ (Bᵀ d B) ] G` takes 16 products per tile and pair of channels instead of 36. The
//! sum over tiles is 16 matrix products [cin, tiles] x [tiles, cout]. Inputs are transformed with tiles as lanes and
//! output adjoints with channels as lanes, so neither has to be transposed afterwards.
#![allow(unsafe_code)]

use super::Slices;
use super::blocks::{Cut, Job, PRIVATE_BYTES, Sums, jobs, sum_over};
use super::lanes::{Lanes, lanes};
use super::product::{Aligned, Left, Right, padded, product, row_of, spread};
use super::transpose::transpose;
use super::winograd::{POINTS, Place, Shape, phases, transform_input};
use super::winograd_weights::transform_back;
use crate::Accum;
use crate::simd::Level;
use std::ops::Range;

/// Bytes of transformed data that a part works on at a time.
const BLOCK_BYTES: usize = 768 << 10;

/// A transformed block of tiles: inputs `[POINTS][cin][row]`, adjoints `[POINTS][tiles][lanes]`, with points [`spread`]
/// apart.
struct Block {
    inputs: Aligned,
    row: usize,
    adjoints: Aligned,
    tiles: usize,
}

/// Computes the weight gradient `gw [cout, cin, 3, 3]` over pairs of (output adjoint, input), or adds it to gw.
pub(super) fn run(level: Level, s: Shape, pairs: &[Slices<'_, f32>], gw: &mut [f32], accum: Accum) {
    let lanes = padded(s.cout);
    let bytes = POINTS * (s.cin + lanes) * size_of::<f32>();
    // At least a few vectors of tiles; otherwise loading and storing the accumulators dominates.
    let cut = s.cut((BLOCK_BYTES / bytes).clamp(64, 512));
    let jobs = jobs(pairs.len(), s.n, s.tile_rows(), cut);
    let sum = sum_over(
        Sums { units: POINTS, rows: s.cin, lanes, private: PRIVATE_BYTES },
        &jobs,
        bytes * cut.images * cut.rows * s.tile_columns(),
        || Scratch::new(&s, cut),
        |job, scratch| transform(level, &s, pairs[job.pair], job, scratch),
        |block, point, channels, sum| accumulate_rows(level, &s, block, point, channels, sum),
    );
    transform_back(level, &s, &sum, gw, accum);
}

/// Computes `sum [channels, lanes] += inputs[point, channels, :] adjoints[point]`.
fn accumulate_rows(
    level: Level,
    s: &Shape,
    block: &Block,
    point: usize,
    channels: Range<usize>,
    sum: &mut [f32],
) {
    let lanes = padded(s.cout);
    let inputs = &block.inputs[point * spread(s.cin * block.row) + channels.start * block.row..];
    let adjoints = Right { data: &block.adjoints[point * spread(block.tiles * lanes)..], row: lanes };
    let size = [channels.len(), block.tiles, lanes];
    product(level, size, Left::Rows(inputs, block.row), adjoints, sum, lanes, Accum::Add);
}

/// Workspaces of one task.
struct Scratch {
    phases: Aligned,
    /// Two rows of the output's adjoint, pixel-major: `[2][2 tile columns][lanes]`. Pixels outside the map stay zero.
    pixels: Aligned,
}

impl Scratch {
    fn new(s: &Shape, cut: Cut) -> Self {
        Scratch {
            phases: phases(s, cut.rows),
            pixels: Aligned::zeroed(4 * s.tile_columns() * padded(s.cout)),
        }
    }
}

fn transform(level: Level, s: &Shape, (gy, x): Slices<'_, f32>, job: &Job, scratch: &mut Scratch) -> Block {
    let (images, rows) = (job.images.clone(), job.rows.clone());
    let (lanes, columns) = (padded(s.cout), s.tile_columns());
    let tiles = images.len() * rows.len() * columns;
    let row = row_of(tiles);
    let (input_point, point) = (spread(s.cin * row), spread(tiles * lanes));
    let mut inputs = Aligned::new(POINTS * input_point);
    let mut adjoints = Aligned::new(POINTS * point);
    let pixels = &mut scratch.pixels;
    for (i, image) in images.enumerate() {
        let tile = i * rows.len() * columns;
        let to = Place { point: input_point, row, channel: 0, tile };
        transform_input(
            level,
            s,
            &x[image * s.cin * s.h * s.w..],
            rows.clone(),
            &mut scratch.phases,
            &mut inputs,
            to,
        );
        let l = s.oh * s.ow;
        let gy = &gy[image * s.cout * l..][..s.cout * l];
        for r in rows.clone() {
            for line in 0..2 {
                let pixels = &mut pixels[line * 2 * columns * lanes..][..2 * columns * lanes];
                match 2 * r + line {
                    y if y < s.oh => transpose(level, &gy[y * s.ow..], l, s.cout, s.ow, pixels, lanes),
                    _ => pixels.fill(0.0),
                }
            }
            let tile = tile + (r - rows.start) * columns;
            assert!(pixels.len() >= 4 * columns * lanes && adjoints.len() >= POINTS * point);
            assert!(tile + columns <= tiles && tiles * lanes <= point);
            // SAFETY: the assertions bound what the body reads and writes.
            unsafe { adjoint_row(level, pixels, columns, lanes, tile, point, &mut adjoints) };
        }
    }
    Block { inputs, row, adjoints, tiles }
}

lanes!(wide fn adjoint_row(pixels: &[f32], columns: usize, lanes: usize, tile: usize, point: usize, out: &mut [f32]) = adjoint_body);

/// Computes `A ∂Y Aᵀ` of one row of tiles.
///
/// # Safety
/// `pixels` is `[2][2 columns][lanes]`. `out` is `[POINTS][tiles][lanes]` with points `point` apart and room for all
/// tiles of the row. Lanes are whole vectors.
#[inline(always)]
unsafe fn adjoint_body<V: Lanes>(
    pixels: &[f32],
    columns: usize,
    lanes: usize,
    tile: usize,
    point: usize,
    out: &mut [f32],
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let zero = V::splat(0.0);
        for t in 0..columns {
            for o in (0..lanes).step_by(V::N) {
                let top = pixels.as_ptr().add(2 * t * lanes + o);
                let bottom = top.add(2 * columns * lanes);
                let (d00, d01) = (V::load(top), V::load(top.add(lanes)));
                let (d10, d11) = (V::load(bottom), V::load(bottom.add(lanes)));
                let left = [d00, d00.add(d10), d00.sub(d10), zero.sub(d10)];
                let right = [d01, d01.add(d11), d01.sub(d11), zero.sub(d11)];
                let at = out.as_mut_ptr().add((tile + t) * lanes + o);
                for i in 0..4 {
                    let at = at.add(4 * i * point);
                    left[i].store(at);
                    left[i].add(right[i]).store(at.add(point));
                    left[i].sub(right[i]).store(at.add(2 * point));
                    zero.sub(right[i]).store(at.add(3 * point));
                }
            }
        }
    }
}
