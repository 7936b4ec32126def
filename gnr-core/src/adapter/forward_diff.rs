//! Hessian-vector products as one-sided differences of gradients.

use crate::{
    Evaluation, GradOracle, HvpOracle, Order, Pass, Result, Sample, Vector, error::at_perturbed_point,
    schedule::validate_constant,
};

/// Makes an [`HvpOracle`] of any [`GradOracle`]: H·v ≈ (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ))·‖v‖/ε.
///
/// The perturbation has norm ε whatever the length of `v`; `v = 0` gives 0. The error is O(ε) in exact arithmetic; in f32 the
/// best ε is about 1e-3, the default (relative error 3e-4; at 1e-7 it is 50 %). On nets with kinks (ReLU) this is another
/// quantity than the exact product, which does not see the kinks.
///
/// # Cost
/// One gradient a product. Together with [`Sam`](crate::Sam) of radius ρ = ε, [`Gnr`](crate::Gnr) shares SAM's gradient.
#[derive(Clone, Debug)]
pub struct ForwardDiff<O> {
    inner: O,
    step: f64,
}

impl<O> ForwardDiff<O> {
    /// Differences with the default step, ε = 1e-3.
    pub fn new(inner: O) -> Self {
        Self { inner, step: 1e-3 }
    }

    /// Another ε, the norm of the perturbation.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ε > 0 and finite.
    pub fn with_step(mut self, step: f64) -> Result<Self> {
        validate_constant("step", step, |x| x > 0.0, "must be positive and finite")?;
        self.step = step;
        Ok(self)
    }

    /// The wrapped oracle.
    pub fn into_inner(self) -> O {
        self.inner
    }
}

impl<O: GradOracle> GradOracle for ForwardDiff<O> {
    type Vector = O::Vector;
    type Record = O::Record;

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
        // A record would be wasted: products only need the gradient.
        self.inner.evaluate(at, pass, Order::First)
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.inner.loss(at)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
    }
}

impl<O: GradOracle> HvpOracle for ForwardDiff<O> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        let v_norm = v.norm()?;
        if v_norm == 0.0 {
            out.copy_from(v)?;
            return out.scale(0.0);
        }
        let mut point = here.at.clone();
        point.axpy(self.step / v_norm, v)?;
        let there = self.inner.evaluate(&point, Pass::Probe, Order::First).map_err(at_perturbed_point)?;
        out.copy_from(&there.grad)?;
        out.axpy(-1.0, &here.grad)?;
        out.scale(v_norm / self.step)
    }

    fn forward_difference_step(&self) -> Option<f64> {
        Some(self.step)
    }
}
