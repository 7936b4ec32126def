//! Hessian-vector products as one-sided differences of gradients.

use super::differences::{Differences, Scheme};
use crate::{GradOracle, Products, Result, Vector, error::at_perturbed_point};

/// One-sided differences: H·v ≈ (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ))·‖v‖/ε; see [`Differences`].
///
/// The error is O(ε) in exact arithmetic. In f32 the best ε is about 1e-3, the default (relative error 3e-4; at 1e-7 it
/// is 50 %).
///
/// # Cost
/// One gradient a product. Together with [`Sam`](crate::Sam) of radius ρ = ε, [`Gnr`](crate::Gnr) shares SAM's
/// gradient.
pub type ForwardDiff<O> = Differences<O, Forward>;

/// The scheme of [`ForwardDiff`].
#[derive(Clone, Copy, Debug)]
pub struct Forward;

impl Scheme for Forward {
    const STEP: f64 = 1e-3;

    fn products(step: f64) -> Products {
        Products::ForwardDifference { step }
    }

    fn product<O: GradOracle>(
        inner: &mut O,
        step: f64,
        mut at: O::Vector,
        grad: &O::Vector,
        v: &O::Vector,
        v_norm: f64,
    ) -> Result<O::Vector> {
        at.axpy(step / v_norm, v)?;
        let mut ahead = inner.gradient(at).map_err(at_perturbed_point)?;
        ahead.axpy(-1.0, grad)?;
        ahead.scale(v_norm / step)?;
        Ok(ahead)
    }
}
