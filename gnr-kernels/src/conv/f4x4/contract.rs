//! From transformed products to maps: `Aᵀ M A` with channels as lanes, then a transpose to one map a channel.
#![allow(unsafe_code)]

use super::super::lanes::{Lanes, lanes};
use super::super::product::Aligned;
use super::super::transpose::{transpose, transpose_add};
use super::super::winograd::Shape;
use super::points::contract;
use super::{LANES, POINTS, TILE, Tiles};
use crate::Accum;
use crate::simd::Level;
use std::ops::Range;

/// Products `[POINTS][tiles][row]`, with points `point` apart. The image's first tile is `tile`, the group's first lane
/// is `lane`.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub(super) data: &'a [f32],
    pub(super) point: usize,
    pub(super) row: usize,
    pub(super) tile: usize,
    pub(super) lane: usize,
}

/// Workspace for four rows of outputs, pixel-major.
pub(super) fn scratch(tiles: &Tiles) -> Aligned {
    Aligned::new(TILE * TILE * tiles.columns * LANES)
}

/// Writes the tile rows `rows` to the maps `channels` (at most [`LANES`]) of the image `out`, or adds them.
#[allow(clippy::too_many_arguments)]
pub(super) fn to_maps(
    level: Level,
    s: &Shape,
    m: Products<'_>,
    channels: Range<usize>,
    rows: Range<usize>,
    pixels: &mut [f32],
    out: &mut [f32],
    accum: Accum,
) {
    let (columns, plane) = (Tiles::of(s).columns, s.oh * s.ow);
    let width = TILE * columns;
    assert!(pixels.len() >= TILE * width * LANES && m.lane + LANES <= m.row);
    let out = &mut out[channels.start * plane..channels.end * plane];
    for r in rows.clone() {
        let tile = m.tile + (r - rows.start) * columns;
        let at = tile * m.row + m.lane;
        assert!(m.data.len() >= (POINTS - 1) * m.point + at + (columns - 1) * m.row + LANES);
        // SAFETY: by the assertions, `m` has every point of the row's tiles and `pixels` four rows of pixels.
        unsafe { row(level, &m.data[at..], m.point, m.row, columns, pixels) };
        let lines = TILE.min(s.oh - TILE * r);
        let write = if accum.adds() { transpose_add } else { transpose };
        if width == s.ow {
            let out = &mut out[TILE * r * s.ow..];
            write(level, pixels, LANES, lines * width, channels.len(), out, plane);
        } else {
            for y in 0..lines {
                let out = &mut out[(TILE * r + y) * s.ow..];
                write(level, &pixels[y * width * LANES..], LANES, s.ow, channels.len(), out, plane);
            }
        }
    }
}

lanes!(wide fn row(m: &[f32], point: usize, m_row: usize, columns: usize, pixels: &mut [f32]) = row_body);

/// Computes `Aᵀ M A` of one row of tiles.
///
/// # Safety
/// `m` has [`POINTS`] points of `columns` tiles; `pixels` has four rows of `4 columns` pixels of [`LANES`] floats.
#[inline(always)]
unsafe fn row_body<V: Lanes>(m: &[f32], point: usize, m_row: usize, columns: usize, pixels: &mut [f32]) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        for t in 0..columns {
            for lane in (0..LANES).step_by(V::N) {
                let from = m.as_ptr().add(t * m_row + lane);
                let mut half = [[V::splat(0.0); TILE]; 6];
                for i in 0..6 {
                    half[i] =
                        contract(std::array::from_fn::<V, 6, _>(|j| V::load(from.add((6 * i + j) * point))));
                }
                let to = pixels.as_mut_ptr().add(TILE * t * LANES + lane);
                for x in 0..TILE {
                    let column = contract(std::array::from_fn::<V, 6, _>(|i| half[i][x]));
                    for (y, value) in column.into_iter().enumerate() {
                        value.store(to.add((y * TILE * columns + x) * LANES));
                    }
                }
            }
        }
    }
}
