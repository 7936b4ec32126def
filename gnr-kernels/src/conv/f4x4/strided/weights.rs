//! Transforms of weights, with output channels as lanes: `G g Gᵀ` of every phase before the products, `Gᵀ M G` after
//! those of the weight gradient.
#![allow(unsafe_code)]

use super::super::LANES;
use super::points::{weight, weight_back, weight_single, weight_single_back};
use super::{PHASES, POINTS, SIDE};
use crate::Accum;
use crate::conv::lanes::{Lanes, lanes};
use crate::conv::product::Aligned;
use crate::conv::transpose::{transpose, transpose_add};
use crate::simd::Level;
use std::ops::Range;

/// Workspace for the taps of `channels` channels and `lanes` lanes.
pub(super) fn scratch(channels: usize, lanes: usize) -> Aligned {
    Aligned::new(9 * channels * lanes)
}

/// Weights [outputs, inputs, 3, 3]. Their outputs are lanes; if `rotated`, their inputs are lanes and taps are rotated
/// by 180°.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) data: &'a [f32],
    pub(super) channels: usize,
    pub(super) lanes: usize,
    pub(super) rotated: bool,
}

impl Weights<'_> {
    /// Copies the taps of some `channels` and the `width` lanes from `first` on to `taps`
    /// `[width / LANES][channels][9][LANES]`.
    pub(super) fn taps(
        &self,
        level: Level,
        channels: Range<usize>,
        first: usize,
        width: usize,
        taps: &mut [f32],
    ) {
        let (all, lanes, count) = (self.channels, self.lanes, channels.len());
        assert!(self.data.len() == 9 * all * lanes && first + width <= lanes && channels.end <= all);
        let groups = taps.chunks_exact_mut((9 * count * LANES).max(1)).take(width / LANES);
        for (taps, first) in groups.zip((first..).step_by(LANES)) {
            if self.rotated {
                for (taps, c) in taps.chunks_exact_mut(9 * LANES).zip(channels.clone()) {
                    let w = &self.data[(c * lanes + first) * 9..];
                    transpose(level, w, 9, LANES, 9, taps, LANES);
                }
            } else {
                let w = &self.data[(first * all + channels.start) * 9..];
                transpose(level, w, all * 9, LANES, count * 9, taps, LANES);
            }
        }
    }

    /// Computes `G g Gᵀ` of one phase from the [`taps`](Self::taps) of `channels` channels and `width` lanes. Point p,
    /// channel c, lane l is written to `p point + c width + l`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn transform(
        &self,
        level: Level,
        phase: usize,
        taps: &[f32],
        channels: usize,
        width: usize,
        u: &mut [f32],
        point: usize,
    ) {
        assert!(taps.len() >= 9 * channels * width && width.is_multiple_of(LANES));
        assert!(channels == 0 || u.len() >= (POINTS - 1) * point + channels * width);
        for lane in (0..width).step_by(LANES) {
            let taps = &taps[9 * channels * lane..];
            // SAFETY: by the assertions, `taps` has nine vectors a channel, and `u` has room for every point of every
            // channel.
            unsafe { forth(level, phase, taps, channels, self.rotated, &mut u[lane..], point, width) };
        }
    }
}

lanes!(wide fn forth(phase: usize, taps: &[f32], channels: usize, rotated: bool, u: &mut [f32], point: usize, row: usize) = forth_body);

/// Transforms the taps of one group of lanes for one phase.
///
/// # Safety
/// `taps` has nine vectors of [`LANES`] a channel; `u` has room for a vector a point and channel.
#[inline(always)]
unsafe fn forth_body<V: Lanes>(
    phase: usize,
    taps: &[f32],
    channels: usize,
    rotated: bool,
    u: &mut [f32],
    point: usize,
    row: usize,
) {
    let u = u.as_mut_ptr();
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        for c in 0..channels {
            for lane in (0..LANES).step_by(V::N) {
                let from = taps.as_ptr().add(9 * c * LANES + lane);
                let to = u.add(c * row + lane);
                // Macros, because the compiler would not inline into closures here.
                macro_rules! tap {
                    ($k:expr) => {
                        V::load(from.add(if rotated { 8 - $k } else { $k } * LANES))
                    };
                }
                macro_rules! columns {
                    ($j:expr, $values:expr) => {
                        for (i, value) in $values.into_iter().enumerate() {
                            value.store(to.add((SIDE * i + $j) * point));
                        }
                    };
                }
                // Odd rows have the outer two rows of taps, even rows the middle one; columns likewise.
                match phase {
                    0 => {
                        let middle = weight([tap!(3), tap!(5)]);
                        for j in 0..5 {
                            columns!(j, weight_single(middle[j]));
                        }
                    }
                    1 => {
                        let (top, bottom) = (weight([tap!(0), tap!(2)]), weight([tap!(6), tap!(8)]));
                        for j in 0..5 {
                            columns!(j, weight([top[j], bottom[j]]));
                        }
                    }
                    2 => {
                        let (top, bottom) = (weight_single(tap!(1)), weight_single(tap!(7)));
                        for j in 0..4 {
                            columns!(j, weight([top[j], bottom[j]]));
                        }
                    }
                    _ => {
                        let middle = weight_single(tap!(4));
                        for j in 0..4 {
                            columns!(j, weight_single(middle[j]));
                        }
                    }
                }
            }
        }
    }
}

/// Computes `Gᵀ M G` of the sums `[POINTS][PHASES][channels][row]` in the first [`LANES`] lanes of `m`, with points
/// `point` apart. Writes some `channels` of the weights `gw` [LANES, all, 3, 3], or adds to them.
#[allow(clippy::too_many_arguments)]
pub(super) fn transform_back(
    level: Level,
    m: &[f32],
    point: usize,
    row: usize,
    channels: Range<usize>,
    taps: &mut [f32],
    gw: &mut [f32],
    all: usize,
    accum: Accum,
) {
    let count = channels.len();
    assert!(taps.len() >= 9 * count * LANES && gw.len() == 9 * all * LANES && channels.end <= all);
    assert!(count > 0 && m.len() >= (POINTS - 1) * point + (PHASES * count - 1) * row + LANES);
    // SAFETY: by the assertions, `m` has a vector a point, phase and channel, and `taps` has nine a channel.
    unsafe { back(level, m, point, row, count, taps) };
    let write = if accum.adds() { transpose_add } else { transpose };
    write(level, taps, LANES, 9 * count, LANES, &mut gw[9 * channels.start..], 9 * all);
}

lanes!(wide fn back(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) = back_body);

/// Computes the gradient of the taps of one group of lanes.
///
/// # Safety
/// `m` has a vector of [`LANES`] a point, phase and channel; `taps` has room for nine a channel.
#[inline(always)]
unsafe fn back_body<V: Lanes>(m: &[f32], point: usize, row: usize, channels: usize, taps: &mut [f32]) {
    // SAFETY: the caller upholds this function's conditions.
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
