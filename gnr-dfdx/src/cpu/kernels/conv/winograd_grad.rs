//! The weight gradient of 3x3 stride-1 `f32` convolutions, by the transpose of [`super::winograd`]'s algorithm:
//! `∂g = Gᵀ [ Σ over tiles (A ∂Y Aᵀ) ⊙ (Bᵀ d B) ] G`, 16 products per tile and pair of channels instead of 36.
//!
//! The sum over tiles is 16 matrix products [cin, tiles] x [tiles, cout]: inputs are transformed with tiles as lanes, output adjoints with
//! channels as lanes, so neither has to be transposed after its expansion.
#![allow(unsafe_code)]

use super::lanes::{Lanes, lanes};
use super::product::{COLUMNS, Left, PANEL, Right, product};
use super::transpose::transpose;
use super::winograd::{Cut, POINTS, Place, Shape, padded, phases, row_of, transform_input};
use super::{PARTS, Pair};
use crate::cpu::buffer::Buf;
use crate::cpu::kernels::elementwise::add_assign;
use crate::cpu::kernels::simd::Level;
use rayon::prelude::*;
use std::ops::Range;

/// Accumulators up to this size (bytes) are kept per part of the batch; larger ones are shared and the *products* run in parallel.
const PRIVATE_BYTES: usize = 2 << 20;

/// Bytes of transformed data that a part works on at a time.
const BLOCK_BYTES: usize = 768 << 10;

/// One block of tiles, transformed: inputs [POINTS][cin][row], adjoints [POINTS][tiles][lanes].
struct Block {
    inputs: Buf<f32>,
    row: usize,
    adjoints: Buf<f32>,
    tiles: usize,
}

/// `gw [cout, cin, 3, 3] = Σ_i …`, or `gw += …`, over pairs of (output adjoint, input).
pub(super) fn run(level: Level, s: Shape, pairs: &[Pair<'_, f32>], gw: &mut [f32], accumulate: bool) {
    let lanes = padded(s.cout);
    let size = POINTS * s.cin * lanes;
    let target = BLOCK_BYTES / (POINTS * (s.cin + lanes) * size_of::<f32>());
    // At least a few vectors of tiles, or loading and storing the accumulators dominates.
    let cut = s.cut(target.clamp(64, 512));
    let blocks = blocks(&s, cut, pairs.len());
    let mut sum;
    if size * size_of::<f32>() <= PRIVATE_BYTES {
        let per = blocks.len().div_ceil(PARTS);
        let part = |blocks: &[(usize, Range<usize>, Range<usize>)]| {
            let mut sum = Buf::zeroed(size);
            let mut scratch = Scratch::new(&s, cut);
            for (p, images, rows) in blocks {
                let block = transform(level, &s, pairs[*p], images.clone(), rows.clone(), &mut scratch);
                for (point, sum) in sum.chunks_exact_mut(s.cin * lanes).enumerate() {
                    accumulate_rows(level, &s, &block, point, 0..s.cin, sum);
                }
            }
            sum
        };
        let parts: Vec<Buf<f32>> = blocks.par_chunks(per.max(1)).map(part).collect();
        sum = Buf::zeroed(size);
        parts.iter().for_each(|p| add_assign(&mut sum, p));
    } else {
        sum = Buf::zeroed(size);
        // As many blocks at a time as take about 8 MB.
        let block_bytes =
            POINTS * cut.images * cut.rows * s.tile_columns() * (s.cin + lanes) * size_of::<f32>();
        for group in blocks.chunks(((8 << 20) / block_bytes).max(2)) {
            let transformed: Vec<Block> = group
                .par_iter()
                .map_init(
                    || Scratch::new(&s, cut),
                    |scratch, (p, images, rows)| {
                        transform(level, &s, pairs[*p], images.clone(), rows.clone(), scratch)
                    },
                )
                .collect();
            let rows = 8 * PANEL;
            sum.par_chunks_mut(s.cin * lanes).enumerate().for_each(|(point, sum)| {
                sum.par_chunks_mut(rows * lanes).enumerate().for_each(|(i, sum)| {
                    let channels = i * rows..(i * rows + sum.len() / lanes);
                    for block in &transformed {
                        accumulate_rows(level, &s, block, point, channels.clone(), sum);
                    }
                });
            });
        }
    }
    transform_back(level, &s, &sum, gw, accumulate);
}

/// (pair, images, rows of tiles) of every block, in a fixed order.
fn blocks(s: &Shape, cut: Cut, pairs: usize) -> Vec<(usize, Range<usize>, Range<usize>)> {
    let mut blocks = Vec::new();
    for p in 0..pairs {
        for image in (0..s.n).step_by(cut.images) {
            for row in (0..s.tile_rows()).step_by(cut.rows) {
                let images = image..(image + cut.images).min(s.n);
                blocks.push((p, images, row..(row + cut.rows).min(s.tile_rows())));
            }
        }
    }
    blocks
}

/// `sum [channels, lanes] += inputs[point, channels, :] adjoints[point]`.
fn accumulate_rows(
    level: Level,
    s: &Shape,
    block: &Block,
    point: usize,
    channels: Range<usize>,
    sum: &mut [f32],
) {
    let lanes = padded(s.cout);
    let inputs = &block.inputs[(point * s.cin + channels.start) * block.row..];
    let adjoints = Right { data: &block.adjoints[point * block.tiles * lanes..], row: lanes };
    let size = [channels.len(), block.tiles, lanes];
    product(level, size, Left::Rows(inputs, block.row), adjoints, sum, lanes, true);
}

/// Buffers of one task.
struct Scratch {
    phases: Buf<f32>,
    /// Two rows of the output's adjoint, pixel-major: [2][2 tile columns][lanes]; what lies outside stays zero.
    pixels: Buf<f32>,
}

impl Scratch {
    fn new(s: &Shape, cut: Cut) -> Self {
        Scratch { phases: phases(s, cut.rows), pixels: Buf::zeroed(4 * s.tile_columns() * padded(s.cout)) }
    }
}

fn transform(
    level: Level,
    s: &Shape,
    (gy, x): Pair<'_, f32>,
    images: Range<usize>,
    rows: Range<usize>,
    scratch: &mut Scratch,
) -> Block {
    let (lanes, columns) = (padded(s.cout), s.tile_columns());
    let tiles = images.len() * rows.len() * columns;
    let row = row_of(tiles);
    let mut inputs = Buf::new(POINTS * s.cin * row);
    let mut adjoints = Buf::new(POINTS * tiles * lanes);
    let pixels = &mut scratch.pixels;
    for (i, image) in images.enumerate() {
        let tile = i * rows.len() * columns;
        let to = Place { row, channel: 0, depth: s.cin, tile };
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
            assert!(pixels.len() >= 4 * columns * lanes && adjoints.len() >= POINTS * tiles * lanes);
            assert!(tile + columns <= tiles);
            // SAFETY: the assertions bound what the body reads and writes.
            unsafe { adjoint_row(level, pixels, columns, lanes, tile, tiles, &mut adjoints) };
        }
    }
    Block { inputs, row, adjoints, tiles }
}

lanes!(wide fn adjoint_row(pixels: &[f32], columns: usize, lanes: usize, tile: usize, tiles: usize, out: &mut [f32]) = adjoint_body);

/// `A ∂Y Aᵀ` of one row of tiles.
///
/// # Safety
/// `pixels` is [2][2 columns][lanes], `out` [POINTS][tiles][lanes] with `tile + columns <= tiles`; lanes are whole vectors.
#[inline(always)]
unsafe fn adjoint_body<V: Lanes>(
    pixels: &[f32],
    columns: usize,
    lanes: usize,
    tile: usize,
    tiles: usize,
    out: &mut [f32],
) {
    // SAFETY: the caller's.
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
                    let at = at.add(4 * i * tiles * lanes);
                    left[i].store(at);
                    left[i].add(right[i]).store(at.add(tiles * lanes));
                    left[i].sub(right[i]).store(at.add(2 * tiles * lanes));
                    zero.sub(right[i]).store(at.add(3 * tiles * lanes));
                }
            }
        }
    }
}

/// `Gᵀ M G` of the summed products [POINTS][cin][lanes], into (or added to) gw [cout, cin, 3, 3].
fn transform_back(level: Level, s: &Shape, sum: &[f32], gw: &mut [f32], accumulate: bool) {
    let lanes = padded(s.cout);
    gw.par_chunks_mut(PANEL * s.cin * 9).enumerate().for_each(|(panel, gw)| {
        for c in 0..s.cin {
            let mut taps = [[0.0_f32; PANEL]; 9];
            let from = &sum[c * lanes + panel * PANEL..];
            assert!(from.len() >= (POINTS - 1) * s.cin * lanes + PANEL);
            // SAFETY: 16 loads of PANEL floats, cin * lanes apart, are inside as just asserted.
            unsafe { back_panel(level, from, s.cin * lanes, &mut taps) };
            for (lane, gw) in gw.chunks_exact_mut(s.cin * 9).enumerate() {
                for (g, tap) in gw[c * 9..][..9].iter_mut().zip(&taps) {
                    *g = if accumulate { *g + tap[lane] } else { tap[lane] };
                }
            }
        }
    });
}

lanes!(eight fn back_panel(from: &[f32], point: usize, taps: &mut [[f32; PANEL]; 9]) = back_body);

/// # Safety
/// `from` has 16 vectors at distance `point`; vectors have [`PANEL`] floats.
#[inline(always)]
unsafe fn back_body<V: Lanes>(from: &[f32], point: usize, taps: &mut [[f32; PANEL]; 9]) {
    // SAFETY: the caller's.
    unsafe {
        let half = V::splat(0.5);
        let mut columns = [[half; 3]; 4];
        for (j, column) in columns.iter_mut().enumerate() {
            let m = |i: usize| V::load(from.as_ptr().add((4 * i + j) * point));
            *column = contract(half, m(0), m(1), m(2), m(3));
        }
        for i in 0..3 {
            let row = contract(half, columns[0][i], columns[1][i], columns[2][i], columns[3][i]);
            for j in 0..3 {
                row[j].store(taps[3 * i + j].as_mut_ptr());
            }
        }
    }
}

/// `Gᵀ m`: (m0 + (m1 + m2)/2, (m1 − m2)/2, (m1 + m2)/2 + m3).
///
/// # Safety
/// That of [`Lanes`].
#[inline(always)]
unsafe fn contract<V: Lanes>(half: V, m0: V, m1: V, m2: V, m3: V) -> [V; 3] {
    // SAFETY: the caller's.
    unsafe {
        let sum = m1.add(m2).mul(half);
        [m0.add(sum), m1.sub(m2).mul(half), sum.add(m3)]
    }
}

const _: () = assert!(COLUMNS.is_multiple_of(PANEL));
