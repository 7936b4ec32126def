//! One-dimensional transforms of F(4, 2) at the points ±A, ±B, ∞ with A = 5/8, B = 3/2.
//!
//! With M(x) = (x² − A²)(x² − B²): Bᵀ has the coefficients of M(x)/(x − p), and of M(x) for ∞. G has the rows (1,
//! p)/M′(p), Aᵀ the powers of the points. A single tap has no product at ∞.
#![allow(unsafe_code)]

use super::super::points::Expand;
use crate::conv::lanes::Lanes;

const A: f32 = 0.625;
const B: f32 = 1.5;

/// The factor 1/M′(A); `NB` is 1/M′(B). The factors of the negative points have the other sign.
const NA: f32 = 1.0 / (2.0 * A * (A * A - B * B));
const NB: f32 = 1.0 / (2.0 * B * (B * B - A * A));

/// The transform `Bᵀ d` of a window of five inputs.
pub(super) struct Input;

impl Expand<5> for Input {
    const TAPS: usize = 5;
    /// Computes `Bᵀ d`.
    ///
    /// # Safety
    /// The conditions of [`Lanes`] hold.
    #[inline(always)]
    unsafe fn expand<V: Lanes>(d: [V; 5]) -> [V; 5] {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let [a, b, c, e] = finite([d[0], d[1], d[2], d[3]]);
            let last = d[0].mul_add(V::splat(A * A * B * B), d[2].mul_add(V::splat(-A * A - B * B), d[4]));
            [a, b, c, e, last]
        }
    }
}

/// The transform `A g` of the adjoints of a tile's four outputs.
pub(super) struct Adjoint;

impl Expand<5> for Adjoint {
    const TAPS: usize = 4;
    /// Computes `A g`.
    ///
    /// # Safety
    /// The conditions of [`Lanes`] hold.
    #[inline(always)]
    unsafe fn expand<V: Lanes>(g: [V; 5]) -> [V; 5] {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let (a2, b2) = (V::splat(A * A), V::splat(B * B));
            let (even_a, odd_a) = (g[2].mul_add(a2, g[0]), g[3].mul_add(a2, g[1]));
            let (even_b, odd_b) = (g[2].mul_add(b2, g[0]), g[3].mul_add(b2, g[1]));
            [
                odd_a.mul_add(V::splat(A), even_a),
                odd_a.mul_add(V::splat(-A), even_a),
                odd_b.mul_add(V::splat(B), even_b),
                odd_b.mul_add(V::splat(-B), even_b),
                g[3],
            ]
        }
    }
}

/// Computes `Bᵀ d` without ∞: what a single tap needs of four inputs.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn finite<V: Lanes>(d: [V; 4]) -> [V; 4] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (a2, b2) = (V::splat(-A * A), V::splat(-B * B));
        let (even_b, odd_b) = (d[0].mul_add(b2, d[2]), d[1].mul_add(b2, d[3]));
        let (even_a, odd_a) = (d[0].mul_add(a2, d[2]), d[1].mul_add(a2, d[3]));
        [
            even_b.mul_add(V::splat(A), odd_b),
            even_b.mul_add(V::splat(-A), odd_b),
            even_a.mul_add(V::splat(B), odd_a),
            even_a.mul_add(V::splat(-B), odd_a),
        ]
    }
}

/// Computes four outputs, `Aᵀ m`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn contract<V: Lanes>(m: [V; 5]) -> [V; 4] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (even_a, odd_a) = (m[0].add(m[1]), m[0].sub(m[1]));
        let (even_b, odd_b) = (m[2].add(m[3]), m[2].sub(m[3]));
        [
            even_a.add(even_b),
            odd_b.mul_add(V::splat(B), odd_a.mul(V::splat(A))),
            even_b.mul_add(V::splat(B * B), even_a.mul(V::splat(A * A))),
            odd_b.mul_add(V::splat(B * B * B), odd_a.mul_add(V::splat(A * A * A), m[4])),
        ]
    }
}

/// Transforms two taps, `G g`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight<V: Lanes>(g: [V; 2]) -> [V; 5] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (even_a, odd_a) = (g[0].mul(V::splat(NA)), g[1].mul(V::splat(A * NA)));
        let (even_b, odd_b) = (g[0].mul(V::splat(NB)), g[1].mul(V::splat(B * NB)));
        [odd_a.add(even_a), odd_a.sub(even_a), odd_b.add(even_b), odd_b.sub(even_b), g[1]]
    }
}

/// Transforms one tap, `G g`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight_single<V: Lanes>(g: V) -> [V; 4] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { [g.mul(V::splat(NA)), g.mul(V::splat(-NA)), g.mul(V::splat(NB)), g.mul(V::splat(-NB))] }
}

/// Computes the gradient of two taps, `Gᵀ m`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight_back<V: Lanes>(m: [V; 5]) -> [V; 2] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (even_a, even_b) = (m[0].add(m[1]), m[2].add(m[3]));
        [
            weight_single_back([m[0], m[1], m[2], m[3]]),
            even_b.mul_add(V::splat(B * NB), even_a.mul_add(V::splat(A * NA), m[4])),
        ]
    }
}

/// Computes the gradient of one tap, `Gᵀ m`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight_single_back<V: Lanes>(m: [V; 4]) -> V {
    // SAFETY: the caller upholds this function's conditions.
    unsafe { m[2].sub(m[3]).mul_add(V::splat(NB), m[0].sub(m[1]).mul(V::splat(NA))) }
}
