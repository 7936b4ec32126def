//! From maps to transformed tiles, with channels as lanes: `Bᵀ d B` of overlapping 6x6 windows, or `A ∂Y Aᵀ` of 4x4
//! tiles.
//!
//! For each group of [`LANES`] channels, the rows of a row of tiles are transposed to pixel-major, then transformed
//! vertically, then horizontally. The transposed rows are in a ring, so a row that two rows of tiles share is
//! transposed once.
#![allow(unsafe_code)]

use super::super::lanes::{Lanes, lanes};
use super::super::product::Aligned;
use super::super::transpose::transpose;
use super::points::{Adjoint, Expand, Input};
use super::{LANES, POINTS, TILE};
use crate::operand::Operand;
use crate::simd::{Level, prefetch};
use std::ops::Range;

/// Maps [channels, h, w] and the tiles over them.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    pub(super) channels: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) padding: usize,
    /// Number of tiles in a row.
    pub(super) columns: usize,
    /// Rows and columns from one window to the next.
    pub(super) step: usize,
    /// Rows and columns of a window: here 6 for inputs, 4 for output adjoints.
    pub(super) window: usize,
}

impl Maps {
    /// Number of columns of a padded row.
    pub(super) fn pitch(&self) -> usize {
        self.step * (self.columns - 1) + self.window
    }
}

/// Number of maps by which prefetching is ahead of the map that a producer computes.
const AHEAD: usize = 2;

/// One image of a batch of maps.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) of: Operand<'a, f32>,
    pub(super) index: usize,
}

impl<'a> Image<'a> {
    /// The channels from `first` on, as far as the padded rows `rows` need them. Streamed channels are computed in
    /// `produced`.
    pub(super) fn rows<'b>(
        self,
        maps: &Maps,
        [first, channels]: [usize; 2],
        rows: Range<usize>,
        produced: &'b mut Aligned,
    ) -> Rows<'b>
    where
        'a: 'b,
    {
        let plane = maps.h * maps.w;
        let map = self.index * maps.channels + first;
        match self.of {
            Operand::Whole(x) => Rows { data: &x[map * plane..][..channels * plane], plane, first: 0 },
            Operand::Streamed(producer) => {
                let end = rows.end.saturating_sub(maps.padding).min(maps.h);
                let pixels = rows.start.saturating_sub(maps.padding).min(end) * maps.w..end * maps.w;
                let len = pixels.len();
                produced.fit(channels * len);
                for c in 0..channels {
                    producer.prefetch(map + c + AHEAD, pixels.clone());
                    producer.produce(map + c, pixels.clone(), &mut produced[c * len..][..len]);
                }
                Rows { data: &produced[..channels * len], plane: len, first: pixels.start }
            }
        }
    }
}

/// Rows of a group of channels: pixel p of channel c is at `c plane + p − first`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    data: &'a [f32],
    plane: usize,
    first: usize,
}

/// The place of an image's tiles: tile t, point p, channel c is at `p point + (tile + t) row + channel + c`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) point: usize,
    pub(super) row: usize,
    pub(super) channel: usize,
    pub(super) tile: usize,
}

/// Workspaces of one task.
pub(super) struct Scratch {
    /// A ring of `window` padded rows, pixel-major; columns outside the image stay zero.
    pub(super) ring: Aligned,
    /// The rows of the ring after the vertical transform: at least 6.
    pub(super) vertical: Aligned,
    /// Transposed rows, if the maps' width is no multiple of 8: such rows cannot be transposed into the ring directly.
    pub(super) rows: Aligned,
    /// A group of channels of a streamed operand.
    pub(super) produced: Aligned,
}

impl Scratch {
    pub(super) fn new(maps: &Maps) -> Self {
        let row = maps.pitch() * LANES;
        Scratch {
            ring: Aligned::zeroed(maps.window * row),
            vertical: Aligned::new(maps.window.max(6) * row),
            rows: Aligned::new(if maps.w.is_multiple_of(8) { 0 } else { maps.window * maps.w * LANES }),
            produced: Aligned::new(0),
        }
    }
}

/// Transforms the tile rows `rows` of the image `x`.
pub(super) fn expand(
    level: Level,
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
    assert!(scratch.ring.len() >= maps.window * row && scratch.vertical.len() >= 6 * row);
    for first in (0..maps.channels).step_by(LANES) {
        let channels = LANES.min(maps.channels - first);
        let Scratch { ring, vertical, rows: transposed, produced } = scratch;
        let needed = TILE * rows.start..TILE * (rows.end - 1) + maps.window;
        let x = x.rows(maps, [first, channels], needed, produced);
        let mut filled = TILE * rows.start;
        for r in rows.clone() {
            let end = TILE * r + maps.window;
            fill(level, maps, x, channels, filled..end, ring, transposed);
            filled = end;
            let tile = to.tile + (r - rows.start) * maps.columns;
            let at = tile * to.row + to.channel + first;
            assert!(v.len() >= (POINTS - 1) * to.point + at + (maps.columns - 1) * to.row + LANES);
            let v = &mut v[at..];
            // SAFETY: by the assertions, the ring has `window` rows of `pitch` pixels, `vertical` has 6, and `v` has
            // room for every point of the row's tiles.
            unsafe {
                match maps.window {
                    6 => input(level, maps, ring, TILE * r, vertical, v, to),
                    _ => adjoint(level, maps, ring, TILE * r, vertical, v, to),
                }
            }
        }
    }
}

/// Copies rows of the padded maps into the ring.
pub(super) fn fill(
    level: Level,
    maps: &Maps,
    Rows { data: x, plane, first }: Rows<'_>,
    channels: usize,
    rows: Range<usize>,
    ring: &mut [f32],
    transposed: &mut [f32],
) {
    let row = maps.pitch() * LANES;
    let inner = rows.start.max(maps.padding)..rows.end.min(maps.h + maps.padding);
    let inner = inner.start.min(inner.end)..inner.end;
    let slot = |y: usize| y % maps.window * row;
    // Prefetches the next rows of tiles of these channels, or the first ones of the next channels: each map is read in
    // runs too short for the hardware to foresee.
    let ahead = match rows.end.saturating_sub(maps.padding) {
        y if y < maps.h => y * maps.w - first,
        _ => LANES * plane,
    };
    for c in 0..channels {
        prefetch(x.as_ptr().wrapping_add(c * plane + ahead), maps.step * maps.w);
    }
    for y in rows.clone().filter(|y| !inner.contains(y)) {
        ring[slot(y)..][..row].fill(0.0);
    }
    if inner.is_empty() {
        return;
    }
    let whole = maps.w.is_multiple_of(8);
    if !whole {
        let from = &x[(inner.start - maps.padding) * maps.w - first..];
        transpose(level, from, plane, channels, inner.len() * maps.w, transposed, LANES);
    }
    for y in inner.clone() {
        // Columns that no tile reads are left out; columns outside the image were zero from the start.
        let width = maps.w.min(maps.pitch().saturating_sub(maps.padding));
        let to = &mut ring[slot(y) + maps.padding * LANES..];
        if whole {
            transpose(level, &x[(y - maps.padding) * maps.w - first..], plane, channels, width, to, LANES);
        } else {
            let from = &transposed[(y - inner.start) * maps.w * LANES..];
            to[..width * LANES].copy_from_slice(&from[..width * LANES]);
        }
    }
}

lanes!(wide fn input(maps: &Maps, ring: &[f32], first: usize, vertical: &mut [f32], v: &mut [f32], to: Place) = input_body);
lanes!(wide fn adjoint(maps: &Maps, ring: &[f32], first: usize, vertical: &mut [f32], v: &mut [f32], to: Place) = adjoint_body);

/// Transforms the windows of one row of tiles.
///
/// # Safety
/// The conditions of [`row_body`] hold.
#[inline(always)]
unsafe fn input_body<V: Lanes>(
    maps: &Maps,
    ring: &[f32],
    first: usize,
    vertical: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { row_body::<V, Input, 6>(maps, ring, first, vertical, v, to) }
}

/// Transforms the adjoints of one row of tiles.
///
/// # Safety
/// The conditions of [`row_body`] hold.
#[inline(always)]
unsafe fn adjoint_body<V: Lanes>(
    maps: &Maps,
    ring: &[f32],
    first: usize,
    vertical: &mut [f32],
    v: &mut [f32],
    to: Place,
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { row_body::<V, Adjoint, 6>(maps, ring, first, vertical, v, to) }
}

/// Transforms one row of tiles of one group of channels. The windows start at padded row `first`.
///
/// # Safety
/// `ring` has `T::TAPS` rows of `pitch` pixels, `vertical` has `N`, and `v` has every one of the N² points of the row's
/// tiles. Pixels have [`LANES`] floats.
#[inline(always)]
pub(super) unsafe fn row_body<V: Lanes, T: Expand<N>, const N: usize>(
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
        let zero = V::splat(0.0);
        let rows: [*const f32; N] = std::array::from_fn(|i| {
            ring.as_ptr().add(if i < T::TAPS { (first + i) % T::TAPS * pitch } else { 0 })
        });
        for x in (0..pitch).step_by(V::N) {
            let mut d = [zero; N];
            for i in 0..T::TAPS {
                d[i] = V::load(rows[i].add(x));
            }
            for (i, value) in T::expand(d).into_iter().enumerate() {
                value.store(vertical.as_mut_ptr().add(i * pitch + x));
            }
        }
        for t in 0..maps.columns {
            for lane in (0..LANES).step_by(V::N) {
                let from = vertical.as_ptr().add(maps.step * t * LANES + lane);
                let at = v.as_mut_ptr().add(t * to.row + lane);
                for i in 0..N {
                    let mut d = [zero; N];
                    for j in 0..T::TAPS {
                        d[j] = V::load(from.add(i * pitch + j * LANES));
                    }
                    for (j, value) in T::expand(d).into_iter().enumerate() {
                        value.store(at.add((N * i + j) * to.point));
                    }
                }
            }
        }
    }
}
