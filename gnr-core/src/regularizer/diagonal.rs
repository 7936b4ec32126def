//! The diagonal of the Hessian, for optimisers that scale by it.

use super::{Needs, Regularizer, StepContext};
use crate::{Elementwise, HvpOracle, Result, Signs, random::SplitMix64};

/// Hutchinson's estimate of the diagonal of ∇²L̂(θ_t), z ⊙ ∇²L̂·z with z of random signs, handed to the optimiser before it moves
/// ([`Optimizer::curvature`](crate::Optimizer::curvature)). The direction stays. Its expectation over z is the diagonal.
///
/// Let it act on some steps only with [`Every`](super::Every). z is a function of the seed and the step.
///
/// # Cost
/// One product and two vectors.
///
/// # References
/// Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 2007.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HessianDiagonal {
    seed: u64,
}

impl HessianDiagonal {
    /// An estimate of one sample.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl<O: HvpOracle> Regularizer<O> for HessianDiagonal
where
    O::Vector: Elementwise + Signs,
{
    fn needs(&self, _: u64, oracle: &O) -> Needs {
        Needs { order: oracle.products().order(), products: 1, ..Needs::NONE }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let z = cx.here.at.signs(SplitMix64::new(self.seed).next_u64().wrapping_add(cx.t))?;
        let mut diagonal = cx.product(&z)?;
        diagonal.multiply(&z)?;
        cx.change.diagonal = Some(diagonal);
        Ok(())
    }
}
