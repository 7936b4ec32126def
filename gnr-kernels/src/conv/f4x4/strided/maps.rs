//! From maps to transformed tiles and back, with channels as lanes: all four phases of an input, windows and tiles of
//! an output's adjoint, `Aᵀ M A`.
#![allow(unsafe_code)]

use super::super::LANES;
use super::super::expand::{Image, Maps, Place, Scratch, fill, row_body};
use super::super::points::Expand as _;
use super::points::{Adjoint, Input, contract, finite};
use super::{PHASES, POINTS, SIDE};
use crate::Accum;
use crate::conv::lanes::{Lanes, lanes};
use crate::conv::transpose::{transpose, transpose_add};
use crate::simd::Level;
use std::ops::Range;

/// The transform of a map.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `Bᵀ d B` of every phase of 9x9 windows: phase q, channel c becomes channel `q channels + c`.
    Phases,
    /// `Bᵀ d B` of 5x5 windows.
    Windows,
    /// `A ∂Y Aᵀ` of 4x4 tiles.
    Tiles,
}

/// Transforms the tile rows `rows` of the image `x`, whose channels are a multiple of [`LANES`].
#[allow(clippy::too_many_arguments)]
pub(super) fn expand(
    level: Level,
    kind: Kind,
    maps: &Maps,
    x: Image<'_>,
    rows: Range<usize>,
    scratch: &mut Scratch,
    v: &mut [f32],
    to: Place,
) {
    if rows.is_empty() {
        return;
    }
    let row = maps.pitch() * LANES;
    let (window, copies) = match kind {
        Kind::Phases => (9, PHASES),
        Kind::Windows => (5, 1),
        Kind::Tiles => (4, 1),
    };
    assert!(maps.window == window && maps.channels.is_multiple_of(LANES));
    assert!(scratch.ring.len() >= window * row && scratch.vertical.len() >= window.max(5) * row);
    for first in (0..maps.channels).step_by(LANES) {
        let Scratch { ring, vertical, rows: transposed, produced } = scratch;
        let needed = maps.step * rows.start..maps.step * (rows.end - 1) + window;
        let x = x.rows(maps, [first, LANES], needed, produced);
        let mut filled = maps.step * rows.start;
        for r in rows.clone() {
            let end = maps.step * r + window;
            fill(level, maps, x, LANES, filled..end, ring, transposed);
            filled = end;
            let tile = to.tile + (r - rows.start) * maps.columns;
            let at = tile * to.row + to.channel + first;
            let last = (copies - 1) * maps.channels + (maps.columns - 1) * to.row + LANES;
            assert!(v.len() >= (POINTS - 1) * to.point + at + last);
            let v = &mut v[at..];
            // SAFETY: by the assertions, the ring has `window` rows of `pitch` pixels, and `vertical` has as many and
            // at least five. `v` has room for every point and phase of the row's tiles.
            unsafe {
                match kind {
                    Kind::Phases => phases(level, maps, ring, maps.step * r, vertical, v, to),
                    Kind::Windows => windows(level, maps, ring, maps.step * r, vertical, v, to),
                    Kind::Tiles => adjoints(level, maps, ring, maps.step * r, vertical, v, to),
                }
            }
        }
    }
}

lanes!(wide fn phases(maps: &Maps, ring: &[f32], first: usize, vertical: &mut [f32], v: &mut [f32], to: Place) = phases_body);
lanes!(wide fn windows(maps: &Maps, ring: &[f32], first: usize, vertical: &mut [f32], v: &mut [f32], to: Place) = windows_body);
lanes!(wide fn adjoints(maps: &Maps, ring: &[f32], first: usize, vertical: &mut [f32], v: &mut [f32], to: Place) = adjoints_body);

/// Transforms 5x5 windows of one row of tiles.
///
/// # Safety
/// The conditions of [`row_body`] hold.
#[inline(always)]
unsafe fn windows_body<V: Lanes>(
    maps: &Maps,
    ring: &[f32],
    first: usize,
    vertical: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { row_body::<V, Input, SIDE>(maps, ring, first, vertical, v, to) }
}

/// Transforms 4x4 tiles of adjoints of one row of tiles.
///
/// # Safety
/// The conditions of [`row_body`] hold.
#[inline(always)]
unsafe fn adjoints_body<V: Lanes>(
    maps: &Maps,
    ring: &[f32],
    first: usize,
    vertical: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { row_body::<V, Adjoint, SIDE>(maps, ring, first, vertical, v, to) }
}

/// Does the work of [`row_body`] for the four phases: odd rows and columns (of the unpadded map) have two taps, even
/// ones have one.
///
/// # Safety
/// `ring` and `vertical` have nine rows of `pitch` pixels; `v` has every point and phase of the row's tiles. Pixels
/// have [`LANES`] floats.
#[inline(always)]
unsafe fn phases_body<V: Lanes>(
    maps: &Maps,
    ring: &[f32],
    first: usize,
    vertical: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    let pitch = maps.pitch() * LANES;
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let rows: [*const f32; 9] = std::array::from_fn(|i| ring.as_ptr().add((first + i) % 9 * pitch));
        for x in (0..pitch).step_by(V::N) {
            let odd = Input::expand(std::array::from_fn::<V, 5, _>(|i| V::load(rows[2 * i].add(x))));
            let even = finite(std::array::from_fn::<V, 4, _>(|i| V::load(rows[2 * i + 1].add(x))));
            for (i, value) in odd.into_iter().chain(even).enumerate() {
                value.store(vertical.as_mut_ptr().add(i * pitch + x));
            }
        }
        for t in 0..maps.columns {
            for lane in (0..LANES).step_by(V::N) {
                let from = vertical.as_ptr().add(maps.step * t * LANES + lane);
                let at = v.as_mut_ptr().add(t * to.row + lane);
                for i in 0..9 {
                    let from = from.add(i * pitch);
                    let odd =
                        Input::expand(std::array::from_fn::<V, 5, _>(|j| V::load(from.add(2 * j * LANES))));
                    let even =
                        finite(std::array::from_fn::<V, 4, _>(|j| V::load(from.add((2 * j + 1) * LANES))));
                    // The vertical point, and the phases of odd and of even columns.
                    let (point, [of_odd, of_even]) = if i < SIDE { (i, [1, 2]) } else { (i - SIDE, [0, 3]) };
                    let (to_odd, to_even) = (at.add(of_odd * maps.channels), at.add(of_even * maps.channels));
                    for (j, value) in odd.into_iter().enumerate() {
                        value.store(to_odd.add((SIDE * point + j) * to.point));
                    }
                    for (j, value) in even.into_iter().enumerate() {
                        value.store(to_even.add((SIDE * point + j) * to.point));
                    }
                }
            }
        }
    }
}

/// The place of a row of tiles in a buffer of pixels. Row y, column x of tile t is in row `stride y + top`, column
/// `stride (4 t + x) + left` of rows of `width` pixels.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    pub(super) stride: usize,
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) width: usize,
}

/// Computes `Aᵀ M A` of one row of tiles. Products begin at the start of `m`, with points `point` and tiles `m_row`
/// apart. `last` says whether there are products at the vertical and at the horizontal ∞.
#[allow(clippy::too_many_arguments)]
pub(super) fn contract_row(
    level: Level,
    m: &[f32],
    point: usize,
    m_row: usize,
    columns: usize,
    last: [bool; 2],
    to: Pixels,
    pixels: &mut [f32],
) {
    assert!(m.len() >= (POINTS - 1) * point + (columns - 1) * m_row + LANES);
    assert!(to.top < to.stride && to.left < to.stride && to.width >= 4 * to.stride * columns);
    assert!(pixels.len() >= 4 * to.stride * to.width * LANES);
    // SAFETY: by the assertions, `m` has every point of the row's tiles, and `pixels` every pixel.
    unsafe { contracted(level, m, point, m_row, columns, last, to, pixels) };
}

lanes!(wide fn contracted(m: &[f32], point: usize, m_row: usize, columns: usize, last: [bool; 2], to: Pixels, pixels: &mut [f32]) = contracted_body);

/// Computes `Aᵀ M A` of one row of tiles.
///
/// # Safety
/// The assertions of [`contract_row`] hold.
#[inline(always)]
unsafe fn contracted_body<V: Lanes>(
    m: &[f32],
    point: usize,
    m_row: usize,
    columns: usize,
    last: [bool; 2],
    to: Pixels,
    pixels: &mut [f32],
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let [rows, across] = last.map(|last| if last { 5 } else { 4 });
        for t in 0..columns {
            for lane in (0..LANES).step_by(V::N) {
                let from = m.as_ptr().add(t * m_row + lane);
                let zero = V::splat(0.0);
                let mut half = [[zero; 4]; SIDE];
                for i in 0..rows {
                    let mut line = [zero; SIDE];
                    for j in 0..4 {
                        line[j] = V::load(from.add((SIDE * i + j) * point));
                    }
                    if across == SIDE {
                        line[4] = V::load(from.add((SIDE * i + 4) * point));
                    }
                    half[i] = contract(line);
                }
                for x in 0..4 {
                    let column = contract(std::array::from_fn::<V, SIDE, _>(|i| half[i][x]));
                    let x = to.stride * (4 * t + x) + to.left;
                    for (y, value) in column.into_iter().enumerate() {
                        let y = to.stride * y + to.top;
                        value.store(pixels.as_mut_ptr().add((y * to.width + x) * LANES + lane));
                    }
                }
            }
        }
    }
}

/// Writes pixel-major rows of `width` pixels to the rows `rows` of the [`LANES`] maps [h, w] at the start of `out`, or
/// adds them.
#[allow(clippy::too_many_arguments)]
pub(super) fn to_maps(
    level: Level,
    pixels: &[f32],
    width: usize,
    rows: Range<usize>,
    [h, w]: [usize; 2],
    out: &mut [f32],
    accum: Accum,
) {
    let write = if accum.adds() { transpose_add } else { transpose };
    let lines = rows.end.min(h) - rows.start;
    if width == w {
        write(level, pixels, LANES, lines * w, LANES, &mut out[rows.start * w..], h * w);
        return;
    }
    for y in 0..lines {
        write(level, &pixels[y * width * LANES..], LANES, w, LANES, &mut out[(rows.start + y) * w..], h * w);
    }
}
