//! The weights' side: `G g Gᵀ` of every phase before the products, `Gᵀ M G` after those of the weight gradient; lanes = output channels.
#![allow(unsafe_code)]

use super::super::LANES;
use super::points::{weight, weight_back, weight_single, weight_single_back};
use super::{PHASES, POINTS, SIDE};
use crate::cpu::kernels::conv::lanes::{Lanes, lanes};
use crate::cpu::kernels::conv::product::Aligned;
use crate::cpu::kernels::conv::transpose::{transpose, transpose_add};
use crate::cpu::kernels::simd::Level;

/// Buffer for the taps of `channels` channels and one group of lanes.
pub(super) fn scratch(channels: usize) -> Aligned {
    Aligned::new(9 * channels * LANES)
}

/// `G g Gᵀ` for `width` lanes from `first` on of weights [outputs, inputs, 3, 3]: point p, phase q, channel c, lane l to
/// `p point + (q channels + c) width + l`. Lanes are outputs and channels inputs; when `turned` the reverse, and the weights are rotated
/// by 180°.
#[allow(clippy::too_many_arguments)]
pub(super) fn transform(
    level: Level,
    w: &[f32],
    [channels, lanes]: [usize; 2],
    turned: bool,
    first: usize,
    width: usize,
    taps: &mut [f32],
    u: &mut [f32],
    point: usize,
) {
    assert!(taps.len() >= 9 * channels * LANES && w.len() == 9 * channels * lanes && first + width <= lanes);
    assert!(u.len() >= (POINTS - 1) * point + PHASES * channels * width);
    for lane in (0..width).step_by(LANES) {
        if turned {
            for c in 0..channels {
                let w = &w[(c * lanes + first + lane) * 9..];
                transpose(level, w, 9, LANES, 9, &mut taps[9 * c * LANES..], LANES);
            }
        } else {
            let w = &w[(first + lane) * channels * 9..];
            transpose(level, w, channels * 9, LANES, channels * 9, taps, LANES);
        }
        // SAFETY: the assertions: nine taps a channel, and room for every point and phase of every channel.
        unsafe { forth(level, taps, channels, turned, &mut u[lane..], point, width) };
    }
}

lanes!(wide fn forth(taps: &[f32], channels: usize, turned: bool, u: &mut [f32], point: usize, row: usize) = forth_body);

/// # Safety
/// `taps` has nine vectors of [`LANES`] a channel, `u` a vector a point, phase and channel.
#[inline(always)]
unsafe fn forth_body<V: Lanes>(
    taps: &[f32],
    channels: usize,
    turned: bool,
    u: &mut [f32],
    point: usize,
    row: usize,
) {
    let u = u.as_mut_ptr();
    // SAFETY: the caller's.
    unsafe {
        for c in 0..channels {
            for lane in (0..LANES).step_by(V::N) {
                let from = taps.as_ptr().add(9 * c * LANES + lane);
                let tap = |k: usize| V::load(from.add(if turned { 8 - k } else { k } * LANES));
                // Of every row of taps: the outer two, and the middle one.
                let outer: [[V; 5]; 3] = std::array::from_fn(|k| weight([tap(3 * k), tap(3 * k + 2)]));
                let middle: [[V; 4]; 3] = std::array::from_fn(|k| weight_single(tap(3 * k + 1)));
                let to = |phase: usize, i: usize, j: usize| {
                    u.add((SIDE * i + j) * point + (phase * channels + c) * row + lane)
                };
                for j in 0..5 {
                    for (i, value) in weight([outer[0][j], outer[2][j]]).into_iter().enumerate() {
                        value.store(to(1, i, j));
                    }
                    for (i, value) in weight_single(outer[1][j]).into_iter().enumerate() {
                        value.store(to(0, i, j));
                    }
                }
                for j in 0..4 {
                    for (i, value) in weight([middle[0][j], middle[2][j]]).into_iter().enumerate() {
                        value.store(to(2, i, j));
                    }
                    for (i, value) in weight_single(middle[1][j]).into_iter().enumerate() {
                        value.store(to(3, i, j));
                    }
                }
            }
        }
    }
}

/// `Gᵀ M G` of sums [POINTS][PHASES · channels][row] (points `point` apart), the [`LANES`] lanes at the start of `m`, into the weights
/// [LANES, channels, 3, 3] `gw`; added when `accumulate`.
#[allow(clippy::too_many_arguments)]
pub(super) fn transform_back(
    level: Level,
    m: &[f32],
    point: usize,
    row: usize,
    channels: usize,
    taps: &mut [f32],
    gw: &mut [f32],
    accumulate: bool,
) {
    assert!(taps.len() >= 9 * channels * LANES && gw.len() == 9 * channels * LANES);
    assert!(m.len() >= (POINTS - 1) * point + (PHASES * channels - 1) * row + LANES);
    // SAFETY: the assertions.
    unsafe { back(level, m, point, row, channels, taps) };
    let turn = if accumulate { transpose_add } else { transpose };
    turn(level, taps, LANES, 9 * channels, LANES, gw, 9 * channels);
}

lanes!(wide fn back(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) = back_body);

/// # Safety
/// `m` has a vector of [`LANES`] a point, phase and channel, `taps` room for nine a channel.
#[inline(always)]
unsafe fn back_body<V: Lanes>(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe {
        for c in 0..channels {
            for lane in (0..LANES).step_by(V::N) {
                let from = |phase: usize, i: usize, j: usize| {
                    V::load(m.as_ptr().add((SIDE * i + j) * point + (phase * channels + c) * row + lane))
                };
                let to = taps.as_mut_ptr().add(9 * c * LANES + lane);
                let zero = V::splat(0.0);
                let (mut outer, mut middle) = ([[zero; 5]; 3], [[zero; 4]; 3]);
                for j in 0..5 {
                    [outer[0][j], outer[2][j]] =
                        weight_back(std::array::from_fn::<V, 5, _>(|i| from(1, i, j)));
                    outer[1][j] = weight_single_back(std::array::from_fn::<V, 4, _>(|i| from(0, i, j)));
                }
                for j in 0..4 {
                    [middle[0][j], middle[2][j]] =
                        weight_back(std::array::from_fn::<V, 5, _>(|i| from(2, i, j)));
                    middle[1][j] = weight_single_back(std::array::from_fn::<V, 4, _>(|i| from(3, i, j)));
                }
                for k in 0..3 {
                    let [left, right] = weight_back(outer[k]);
                    left.store(to.add(3 * k * LANES));
                    weight_single_back(middle[k]).store(to.add((3 * k + 1) * LANES));
                    right.store(to.add((3 * k + 2) * LANES));
                }
            }
        }
    }
}
