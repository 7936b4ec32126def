//! The diagonal of the Hessian, for optimisers that scale by it.

use super::{Ahead, Needs, Regularizer, StepContext, context::XI};
use crate::{
    Elementwise, HvpOracle, Quantity, Result, Signs, Vector, error::finite, random::SplitMix64,
    schedule::validate_constant,
};

/// Hutchinson's estimate of the diagonal of ∇²L̂(θ_t), z ⊙ ∇²L̂·z with z of random signs, handed to the optimiser before it moves
/// ([`Optimizer::curvature`](crate::Optimizer::curvature)). The direction stays. Its expectation over z is the diagonal.
///
/// Let it act on some steps only with [`Every`](super::Every). z is a function of the seed and the step.
///
/// # Errors
/// Of a step: [`Error::NonFinite`](crate::Error::NonFinite) for a product that is not finite. The optimiser does not hear of it.
///
/// # Cost
/// One product and two vectors. [With a radius](Self::with_radius) also one gradient, which is SAM's own when its radius is the same, and
/// the memory of a second record.
///
/// # References
/// Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 2007.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HessianDiagonal {
    seed: u64,
    ahead: Option<Ahead>,
}

impl HessianDiagonal {
    /// An estimate of one sample, at θ_t.
    pub fn new(seed: u64) -> Self {
        Self { seed, ahead: None }
    }

    /// Takes the Hessian at θ_t + ρ·∇L̂/(‖∇L̂‖ + ξ), ξ = 1e-12, instead of θ_t: the point where [`Sam`](super::Sam) of radius ρ takes its
    /// gradient.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and finite.
    pub fn with_radius(self, rho: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Ok(Self { ahead: Some(Ahead { radius: rho, xi: XI }), ..self })
    }
}

impl<O: HvpOracle> Regularizer<O> for HessianDiagonal
where
    O::Vector: Elementwise + Signs,
{
    fn needs(&self, _: u64, oracle: &O) -> Needs {
        match self.ahead {
            Some(ahead) => Needs::ahead(ahead),
            None => Needs { order: oracle.products().order(), products: 1, ..Needs::NONE },
        }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let z = cx.here.at.signs(SplitMix64::new(self.seed).next_u64().wrapping_add(cx.t))?;
        let mut diagonal = match self.ahead {
            Some(ahead) => cx.product_ahead(ahead, &z)?,
            None => cx.product(&z)?,
        };
        finite(Quantity::HvpNorm, diagonal.dot(&diagonal)?.sqrt())?;
        diagonal.multiply(&z)?;
        cx.change.diagonal = Some(diagonal);
        Ok(())
    }
}
