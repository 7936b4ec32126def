//! Hessian-vector products as central differences of gradients.

use super::differences::{Differences, Scheme};
use crate::{GradOracle, Products, Result, Vector, error::at_perturbed_point};

/// Central differences: H·v ≈ (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ − ε v/‖v‖))·‖v‖/(2ε); see [`Differences`].
///
/// The error is O(ε²) in exact arithmetic. In f32 the best ε is about 1e-2, the default (relative error 2e-5).
///
/// # Cost
/// Two gradients and one vector a product.
pub type CentralDiff<O> = Differences<O, Central>;

/// The scheme of [`CentralDiff`].
#[derive(Clone, Copy, Debug)]
pub struct Central;

impl Scheme for Central {
    const STEP: f64 = 1e-2;

    fn products(step: f64) -> Products {
        Products::CentralDifference { step }
    }

    fn product<O: GradOracle>(
        inner: &mut O,
        step: f64,
        at: O::Vector,
        _: &O::Vector,
        v: &O::Vector,
        v_norm: f64,
    ) -> Result<O::Vector> {
        // Both points are made from θ, not one from the other: the two perturbations must be exactly opposite.
        let [mut ahead, mut behind] = [at.clone(), at];
        ahead.axpy(step / v_norm, v)?;
        let mut difference = inner.gradient(ahead).map_err(at_perturbed_point)?;
        behind.axpy(-step / v_norm, v)?;
        difference.axpy(-1.0, &inner.gradient(behind).map_err(at_perturbed_point)?)?;
        difference.scale(v_norm / (2.0 * step))?;
        Ok(difference)
    }
}
