//! One-dimensional transforms of F(4, 3) at the points 0, ±A, ±B, ∞ with A = 5/8, B = 3/2.
//!
//! With M(x) = x (x² − A²)(x² − B²): Bᵀ has the coefficients of M(x)/(x − p), G the rows (1, p, p²)/M′(p), and Aᵀ the
//! powers of the points.
#![allow(unsafe_code)]

use super::super::lanes::Lanes;

const A: f32 = 0.625;
const B: f32 = 1.5;

/// The factor 1/M′(0). `NA` and `NB` are 1/M′(±A) and 1/M′(±B).
const N0: f32 = 1.0 / (A * A * B * B);
const NA: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const NB: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

/// A linear map of up to `N` values to `N` transformed ones.
pub(super) trait Expand<const N: usize> {
    /// Number of values that are transformed.
    const TAPS: usize;
    /// Transforms the first `TAPS` values; the others do not matter.
    ///
    /// # Safety
    /// The conditions of [`Lanes`] hold.
    unsafe fn expand<V: Lanes>(d: [V; N]) -> [V; N];
}

/// The transform `Bᵀ d` of a window of six inputs.
pub(super) struct Input;

impl Expand<6> for Input {
    const TAPS: usize = 6;
    /// Computes `Bᵀ d`.
    ///
    /// # Safety
    /// The conditions of [`Lanes`] hold.
    #[inline(always)]
    unsafe fn expand<V: Lanes>(d: [V; 6]) -> [V; 6] {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let (a, b, a2, b2) = (V::splat(A), V::splat(B), V::splat(-A * A), V::splat(-B * B));
            let (minus_a, minus_b) = (V::splat(-A), V::splat(-B));
            // x⁴ − B² x² and x³ − B² x, then both with A in place of B.
            let (even_b, odd_b) = (d[2].mul_add(b2, d[4]), d[1].mul_add(b2, d[3]));
            let (even_a, odd_a) = (d[2].mul_add(a2, d[4]), d[1].mul_add(a2, d[3]));
            [
                d[0].mul_add(b2, d[2]).mul_add(a2, even_b),
                odd_b.mul_add(a, even_b),
                odd_b.mul_add(minus_a, even_b),
                odd_a.mul_add(b, even_a),
                odd_a.mul_add(minus_b, even_a),
                odd_b.mul_add(a2, d[3].mul_add(b2, d[5])),
            ]
        }
    }
}

/// The transform `A g` of the adjoints of a tile's four outputs.
pub(super) struct Adjoint;

impl Expand<6> for Adjoint {
    const TAPS: usize = 4;
    /// Computes `A g`.
    ///
    /// # Safety
    /// The conditions of [`Lanes`] hold.
    #[inline(always)]
    unsafe fn expand<V: Lanes>(g: [V; 6]) -> [V; 6] {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let (a2, b2) = (V::splat(A * A), V::splat(B * B));
            let (even_a, odd_a) = (g[2].mul_add(a2, g[0]), g[3].mul_add(a2, g[1]));
            let (even_b, odd_b) = (g[2].mul_add(b2, g[0]), g[3].mul_add(b2, g[1]));
            [
                g[0],
                odd_a.mul_add(V::splat(A), even_a),
                odd_a.mul_add(V::splat(-A), even_a),
                odd_b.mul_add(V::splat(B), even_b),
                odd_b.mul_add(V::splat(-B), even_b),
                g[3],
            ]
        }
    }
}

/// Computes four outputs, `Aᵀ m`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn contract<V: Lanes>(m: [V; 6]) -> [V; 4] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(even_a).add(even_b),
            odd_b.mul_add(V::splat(B), odd_a.mul(V::splat(A))),
            even_b.mul_add(V::splat(B * B), even_a.mul(V::splat(A * A))),
            odd_b.mul_add(V::splat(B * B * B), odd_a.mul_add(V::splat(A * A * A), m[5])),
        ]
    }
}

/// Transforms three taps, `G g`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight<V: Lanes>(g: [V; 3]) -> [V; 6] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let even_a = g[2].mul_add(V::splat(A * A * NA), g[0].mul(V::splat(NA)));
        let even_b = g[2].mul_add(V::splat(B * B * NB), g[0].mul(V::splat(NB)));
        let (odd_a, odd_b) = (g[1].mul(V::splat(A * NA)), g[1].mul(V::splat(B * NB)));
        [
            g[0].mul(V::splat(N0)),
            even_a.add(odd_a),
            even_a.sub(odd_a),
            even_b.add(odd_b),
            even_b.sub(odd_b),
            g[2],
        ]
    }
}

/// Computes the gradient of three taps, `Gᵀ m`.
///
/// # Safety
/// The conditions of [`Lanes`] hold.
#[inline(always)]
pub(super) unsafe fn weight_back<V: Lanes>(m: [V; 6]) -> [V; 3] {
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            even_b.mul_add(V::splat(NB), even_a.mul_add(V::splat(NA), m[0].mul(V::splat(N0)))),
            odd_b.mul_add(V::splat(B * NB), odd_a.mul(V::splat(A * NA))),
            even_b.mul_add(V::splat(B * B * NB), even_a.mul_add(V::splat(A * A * NA), m[5])),
        ]
    }
}
