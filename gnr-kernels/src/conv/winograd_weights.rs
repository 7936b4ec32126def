//! Transforms of weights for Winograd's F(2x2, 3x3): `G g Gᵀ` before the products of a convolution, `Gᵀ M G` after
//! those of its weight gradient.
#![allow(unsafe_code)]

use super::Slices;
use super::blocks::{PRIVATE_BYTES, Sums};
use super::lanes::{Lanes, lanes};
use super::product::{Aligned, COLUMNS, PANEL, padded};
use super::winograd::{POINTS, Shape};
use crate::Accum;
use crate::parallel::each_chunk;
use crate::simd::Level;

/// Computes `G g Gᵀ` of all weights, as panels `[output panel][POINTS][depth][PANEL]` for `product`.
pub(super) fn transform_weights(level: Level, s: Shape, pairs: &[Slices<'_, f32>], rotated: bool) -> Aligned {
    let depth = s.cin * pairs.len();
    let mut u = Aligned::new(s.cout.div_ceil(PANEL) * POINTS * PANEL * depth);
    each_chunk(&mut u, POINTS * PANEL * depth, 1, |panel, u| {
        let channels = panel * PANEL..((panel + 1) * PANEL).min(s.cout);
        for (p, (_, w)) in pairs.iter().enumerate() {
            for c in 0..s.cin {
                let mut taps = [[0.0_f32; PANEL]; 9];
                for (lane, o) in channels.clone().enumerate() {
                    let at = if rotated { c * s.cout + o } else { o * s.cin + c };
                    let g = &w[at * 9..][..9];
                    for k in 0..9 {
                        taps[k][lane] = g[if rotated { 8 - k } else { k }];
                    }
                }
                let to = &mut u[(p * s.cin + c) * PANEL..];
                assert!(to.len() >= (POINTS - 1) * PANEL * depth + PANEL);
                // SAFETY: 16 stores of PANEL floats, PANEL * depth apart, fit as just asserted.
                unsafe { weight_panel(level, &taps, to, PANEL * depth) };
            }
        }
    });
    u
}

lanes!(eight fn weight_panel(taps: &[[f32; PANEL]; 9], to: &mut [f32], point: usize) = weight_body);

/// Transforms the taps of one panel and one input channel.
///
/// # Safety
/// `to` has room for 16 vectors at distance `point`; vectors have [`PANEL`] floats.
#[inline(always)]
unsafe fn weight_body<V: Lanes>(taps: &[[f32; PANEL]; 9], to: &mut [f32], point: usize) {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let half = V::splat(0.5);
        let mut columns = [[half; 4]; 3];
        for (j, column) in columns.iter_mut().enumerate() {
            let tap = |i: usize| V::load(taps[3 * i + j].as_ptr());
            *column = expand(half, tap(0), tap(1), tap(2));
        }
        let [left, middle, right] = columns;
        for (i, ((g0, g1), g2)) in left.into_iter().zip(middle).zip(right).enumerate() {
            for (j, v) in expand(half, g0, g1, g2).into_iter().enumerate() {
                v.store(to.as_mut_ptr().add((4 * i + j) * point));
            }
        }
    }
}

/// Computes `G g`: (g0, (g0 + g1 + g2)/2, (g0 − g1 + g2)/2, g2).
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
unsafe fn expand<V: Lanes>(half: V, g0: V, g1: V, g2: V) -> [V; 4] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (sum, g1) = (g0.add(g2).mul(half), g1.mul(half));
        [g0, sum.add(g1), sum.sub(g1), g2]
    }
}

/// Computes `Gᵀ M G` of the summed products `[POINTS][cin][lanes]`. Writes gw [cout, cin, 3, 3], or adds to it.
pub(super) fn transform_back(level: Level, s: &Shape, sum: &[f32], gw: &mut [f32], accum: Accum) {
    let lanes = padded(s.cout);
    let point = Sums { units: POINTS, rows: s.cin, lanes, private: PRIVATE_BYTES }.unit();
    each_chunk(gw, PANEL * s.cin * 9, 1, |panel, gw| {
        for c in 0..s.cin {
            let mut taps = [[0.0_f32; PANEL]; 9];
            let from = &sum[c * lanes + panel * PANEL..];
            assert!(from.len() >= (POINTS - 1) * point + PANEL);
            // SAFETY: 16 loads of PANEL floats, `point` apart, are inside as just asserted.
            unsafe { back_panel(level, from, point, &mut taps) };
            for (lane, gw) in gw.chunks_exact_mut(s.cin * 9).enumerate() {
                for (g, tap) in gw[c * 9..][..9].iter_mut().zip(&taps) {
                    *g = if accum.adds() { *g + tap[lane] } else { tap[lane] };
                }
            }
        }
    });
}

lanes!(eight fn back_panel(from: &[f32], point: usize, taps: &mut [[f32; PANEL]; 9]) = back_body);

/// Computes the gradient of the taps of one panel and one input channel.
///
/// # Safety
/// `from` has 16 vectors at distance `point`; vectors have [`PANEL`] floats.
#[inline(always)]
unsafe fn back_body<V: Lanes>(from: &[f32], point: usize, taps: &mut [[f32; PANEL]; 9]) {
    // SAFETY: the caller upholds this function's conditions.
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

/// Computes `Gᵀ m`: (m0 + (m1 + m2)/2, (m1 − m2)/2, (m1 + m2)/2 + m3).
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
unsafe fn contract<V: Lanes>(half: V, m0: V, m1: V, m2: V, m3: V) -> [V; 3] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let sum = m1.add(m2).mul(half);
        [m0.add(sum), m1.sub(m2).mul(half), sum.add(m3)]
    }
}

const _: () = assert!(COLUMNS.is_multiple_of(PANEL));
