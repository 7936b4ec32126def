//! The answer of an oracle about one point: loss, gradient and record.

use super::{HvpOracle, Pass};
use crate::{
    Quantity, Result, Vector,
    error::{at_perturbed_point, finite},
};
use std::borrow::Cow;

/// The loss L̂ and the gradient ∇L̂ at one point, with the oracle's record of the point.
#[derive(Debug)]
pub struct Evaluation<'a, V: Clone, R> {
    /// The point: borrowed from the caller, or owned, so that [`HvpOracle::hvp_of_gradient`] may free it.
    pub at: Cow<'a, V>,
    /// The mean loss L̂ of the batch, without weight decay; always finite.
    pub loss: f64,
    /// The gradient ∇L̂(at).
    pub grad: V,
    /// The gradient's norm ‖∇L̂(at)‖; always finite.
    pub grad_norm: f64,
    /// Activations and adjoints of the point, for products there (`()` where there are none).
    pub record: R,
}

impl<'a, V: Vector, R> Evaluation<'a, V, R> {
    /// Checks that loss and gradient are finite and computes the gradient's norm.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite), naming the loss or the gradient norm.
    pub fn new(at: &'a V, loss: f64, grad: V, record: R) -> Result<Self> {
        let grad_norm = finite_gradient(loss, &grad)?;
        Ok(Self { at: Cow::Borrowed(at), loss, grad, grad_norm, record })
    }
}

/// The gradient's norm ‖∇L̂‖, after the check that an [`Evaluation`] makes: loss and norm must be finite.
///
/// # Errors
/// [`Error::NonFinite`](crate::Error::NonFinite), naming the loss or the gradient norm.
pub fn finite_gradient<V: Vector>(loss: f64, grad: &V) -> Result<f64> {
    finite(Quantity::Loss, loss)?;
    finite(Quantity::GradientNorm, grad.dot(grad)?.sqrt())
}

/// The vector f = ∇‖∇L̂‖ = ∇²L̂·∇L̂/(‖∇L̂‖ + ξ) at one point (lines 6 and 8 of Algorithm 1).
///
/// The factor is kept beside the vector, which saves a pass over the vector to scale it.
#[derive(Clone, Debug)]
pub struct NormGradient<V> {
    /// f is `factor` times this vector.
    pub vector: V,
    /// The scalar that multiplies the vector.
    pub factor: f64,
    /// The gradient norm ‖∇L̂‖ at the point.
    pub grad_norm: f64,
}

impl<V: Vector> NormGradient<V> {
    /// Computes f at a point that is evaluated for this alone; consumes the point.
    ///
    /// # Errors
    /// The errors of the oracle. A quantity that is not finite is named as one of a perturbed point.
    ///
    /// # Cost
    /// One gradient and one product. Point, gradient and record are freed while the product takes their place.
    pub fn at<O: HvpOracle<Vector = V>>(oracle: &mut O, at: V, xi: f64) -> Result<Self> {
        let evaluated = oracle.evaluate(&at, Pass::Probe, oracle.products().order());
        let Evaluation { loss, grad, grad_norm, record, .. } = evaluated.map_err(at_perturbed_point)?;
        Self::of(oracle, Evaluation { at: Cow::Owned(at), loss, grad, grad_norm, record }, xi)
            .map_err(at_perturbed_point)
    }

    /// Computes f at an evaluated point and consumes the evaluation. Where the gradient vanishes, so does f, also with
    /// ξ = 0.
    ///
    /// # Errors
    /// The errors of the oracle.
    ///
    /// # Cost
    /// One product.
    pub fn of<O: HvpOracle<Vector = V>>(
        oracle: &mut O,
        here: Evaluation<'_, V, O::Record>,
        xi: f64,
    ) -> Result<Self> {
        let grad_norm = here.grad_norm;
        let factor = if grad_norm + xi > 0.0 { 1.0 / (grad_norm + xi) } else { 0.0 };
        Ok(Self { vector: oracle.hvp_of_gradient(here)?, factor, grad_norm })
    }

    /// The norm ‖f‖.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite), naming the norm of a Hessian-vector product.
    pub fn norm(&self) -> Result<f64> {
        finite(Quantity::HvpNorm, self.factor * self.vector.dot(&self.vector)?.sqrt())
    }

    /// Computes `x + a·f` in the memory of f.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    pub fn added_to(self, x: &V, a: f64) -> Result<V> {
        let mut sum = self.vector;
        sum.aypx(a * self.factor, x)?;
        Ok(sum)
    }
}
