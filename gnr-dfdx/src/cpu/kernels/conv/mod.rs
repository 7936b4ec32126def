//! 2-D convolutions: forward, input gradient and weight gradient, each of a *sum* of convolutions.
//!
//! Every operation takes a list of pairs, because derivatives of a convolution are sums of convolutions: the tangent of `x * w` is
//! `x * ẇ + ẋ * w`, one [`forward`] with two pairs that writes its result once.

mod general;
mod geometry;
mod im2col;

pub use geometry::{Geometry, GeometryError};

use super::elem::Elem;

/// Two operands of one convolution (which two depends on the operation).
pub type Pair<'a, E> = (&'a [E], &'a [E]);

/// `y = Σ_i conv(x_i, w_i)` over `pairs` of (input, weight).
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn forward<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    check(pairs, g.input_len(), g.weight_len(), y.len(), g.output_len());
    general::forward(g, pairs, y);
}

/// `gx = Σ_i convᵀ(gy_i, w_i)` over `pairs` of (output adjoint, weight); `gx += …` when `accumulate`.
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_input<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accumulate: bool) {
    check(pairs, g.output_len(), g.weight_len(), gx.len(), g.input_len());
    general::backward_input(g, pairs, gx, accumulate);
}

/// `gw = Σ_i (gradient of ⟨conv(x_i, w), gy_i⟩ in w)` over `pairs` of (output adjoint, input); `gw += …` when `accumulate`.
/// The number of threads does not change the result.
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_weight<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gw: &mut [E], accumulate: bool) {
    check(pairs, g.output_len(), g.input_len(), gw.len(), g.weight_len());
    general::backward_weight(g, pairs, gw, accumulate);
}

/// The lengths that the kernels below rely on.
fn check<E>(pairs: &[Pair<'_, E>], first: usize, second: usize, out: usize, expected: usize) {
    assert!(!pairs.is_empty(), "a convolution needs at least one pair of operands");
    assert!(
        pairs.iter().all(|p| p.0.len() == first && p.1.len() == second),
        "operand lengths {first}, {second}"
    );
    assert_eq!(out, expected, "length of the result");
}

#[cfg(test)]
mod tests;
