//! Transforms of weights, with output channels as lanes: `G g Gᵀ` before the products of a convolution, `Gᵀ M G` after
//! those of its weight gradient.
#![allow(unsafe_code)]

use super::super::lanes::{Lanes, lanes};
use super::super::product::Aligned;
use super::super::transpose::{transpose, transpose_add};
use super::super::winograd::Shape;
use super::points::{weight, weight_back};
use super::{LANES, POINTS};
use crate::Accum;
use crate::simd::Level;
use std::ops::Range;

/// Workspace for the taps of `channels` input channels and one group of output channels.
pub(super) fn scratch(channels: usize) -> Aligned {
    Aligned::new(9 * channels * LANES)
}

/// Computes `G g Gᵀ` for the output channels `out..out + width` and the input channels `channels`. Point p, channel c,
/// lane l is written to `p point + c width + l`. `rotated` exchanges the weights' channels and rotates their taps by
/// 180°.
#[allow(clippy::too_many_arguments)]
pub(super) fn transform(
    level: Level,
    s: &Shape,
    w: &[f32],
    rotated: bool,
    out: usize,
    width: usize,
    channels: Range<usize>,
    taps: &mut [f32],
    u: &mut [f32],
    point: usize,
) {
    let count = channels.len();
    assert!(taps.len() >= 9 * count * LANES && u.len() >= (POINTS - 1) * point + count * width);
    for lane in (0..width).step_by(LANES) {
        let first = out + lane;
        if first >= s.cout {
            // Products of lanes beyond the last channel are never read.
            continue;
        }
        let outputs = LANES.min(s.cout - first);
        if rotated {
            for (i, c) in channels.clone().enumerate() {
                let w = &w[(c * s.cout + first) * 9..];
                transpose(level, w, 9, outputs, 9, &mut taps[9 * i * LANES..], LANES);
            }
        } else {
            let w = &w[(first * s.cin + channels.start) * 9..];
            transpose(level, w, s.cin * 9, outputs, count * 9, taps, LANES);
        }
        // SAFETY: by the assertion above, `taps` has nine vectors a channel, and `u` has room for every point of every
        // channel.
        unsafe { forth(level, taps, count, rotated, &mut u[lane..], point, width) };
    }
}

lanes!(wide fn forth(taps: &[f32], channels: usize, rotated: bool, u: &mut [f32], point: usize, row: usize) = forth_body);

/// Transforms the taps of one group of lanes.
///
/// # Safety
/// `taps` has nine vectors of [`LANES`] a channel; `u` has room for a vector a point and channel.
#[inline(always)]
unsafe fn forth_body<V: Lanes>(
    taps: &[f32],
    channels: usize,
    rotated: bool,
    u: &mut [f32],
    point: usize,
    row: usize,
) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        for c in 0..channels {
            for lane in (0..LANES).step_by(V::N) {
                let from = taps.as_ptr().add(9 * c * LANES + lane);
                let tap = |k: usize| V::load(from.add(if rotated { 8 - k } else { k } * LANES));
                let mut half = [[V::splat(0.0); 6]; 3];
                for j in 0..3 {
                    half[j] = weight([tap(j), tap(3 + j), tap(6 + j)]);
                }
                let to = u.as_mut_ptr().add(c * row + lane);
                for i in 0..6 {
                    let values = weight([half[0][i], half[1][i], half[2][i]]);
                    for (j, value) in values.into_iter().enumerate() {
                        value.store(to.add((6 * i + j) * point));
                    }
                }
            }
        }
    }
}

/// Computes `Gᵀ M G` of products `[POINTS][channels][width]` with points `point` apart. Writes `gw`, the weights
/// [outputs, cin, 3, 3] of the first output channels of the panel, or adds to them.
#[allow(clippy::too_many_arguments)]
pub(super) fn transform_back(
    level: Level,
    s: &Shape,
    m: &[f32],
    point: usize,
    width: usize,
    channels: Range<usize>,
    taps: &mut [f32],
    gw: &mut [f32],
    accum: Accum,
) {
    let (count, row) = (channels.len(), s.cin * 9);
    let lanes = (gw.len() / row.max(1)).next_multiple_of(LANES).min(width);
    assert!(taps.len() >= 9 * count * LANES);
    assert!(count == 0 || m.len() >= (POINTS - 1) * point + (count - 1) * width + lanes);
    for (lane, gw) in (0..width).step_by(LANES).zip(gw.chunks_mut(LANES * row)) {
        // SAFETY: by the assertions above, `m` has a vector a point and channel, and `taps` has nine a channel.
        unsafe { back(level, &m[lane..], point, width, count, taps) };
        let write = if accum.adds() { transpose_add } else { transpose };
        let outputs = gw.len() / row;
        write(level, taps, LANES, 9 * count, outputs, &mut gw[channels.start * 9..], row);
    }
}

lanes!(wide fn back(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) = back_body);

/// Computes the gradient of the taps of one group of lanes.
///
/// # Safety
/// `m` has a vector of [`LANES`] a point and channel; `taps` has room for nine a channel.
#[inline(always)]
unsafe fn back_body<V: Lanes>(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        for c in 0..channels {
            for lane in (0..LANES).step_by(V::N) {
                let from = m.as_ptr().add(c * row + lane);
                let mut half = [[V::splat(0.0); 3]; 6];
                for j in 0..6 {
                    half[j] = weight_back(std::array::from_fn::<V, 6, _>(|i| {
                        V::load(from.add((6 * i + j) * point))
                    }));
                }
                let to = taps.as_mut_ptr().add(9 * c * LANES + lane);
                for i in 0..3 {
                    let values = weight_back(std::array::from_fn::<V, 6, _>(|j| half[j][i]));
                    for (j, value) in values.into_iter().enumerate() {
                        value.store(to.add((3 * i + j) * LANES));
                    }
                }
            }
        }
    }
}
