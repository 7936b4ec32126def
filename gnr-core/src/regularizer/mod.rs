//! Regularisers: what changes the direction of a step. One file each.

mod combine;
mod every;
mod gnr;
mod on_sample;
mod sam;

pub use every::Every;
pub use gnr::Gnr;
pub use on_sample::OnSample;
pub use sam::Sam;

use crate::{Evaluation, GradOracle, Order, Pass, Result, Vector, error::at_perturbed_point};

/// What a regulariser may see and ask during one step.
pub struct StepContext<'a, O: GradOracle> {
    /// The step's number, from 0.
    pub t: u64,
    /// L̂ and ∇L̂ at θ_t: computed once, shared by everyone.
    pub here: &'a Evaluation<'a, O::Vector, O::Record>,
    /// The step's mini-batch.
    pub oracle: &'a mut O,
    /// Gradients ahead of θ_t, by (radius, ξ).
    ahead: Vec<((f64, f64), O::Vector)>,
}

impl<'a, O: GradOracle> StepContext<'a, O> {
    /// A context at the point that was just evaluated.
    pub fn new(t: u64, here: &'a Evaluation<'a, O::Vector, O::Record>, oracle: &'a mut O) -> Self {
        Self { t, here, oracle, ahead: Vec::new() }
    }

    /// ∇L̂(θ + r·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ)): the gradient at distance `radius` along the gradient.
    ///
    /// Evaluated at most once a step for each radius and ξ, so SAM and a finite-difference GNR of equal radius share it.
    ///
    /// # Errors
    /// Those of [`GradOracle::evaluate`].
    ///
    /// # Cost
    /// One gradient and one vector the first time a radius and ξ are asked for, nothing afterwards.
    pub fn ahead(&mut self, radius: f64, xi: f64) -> Result<&O::Vector> {
        let known = self.ahead.iter().position(|(key, _)| *key == (radius, xi));
        let index = match known {
            Some(index) => index,
            None => {
                let mut point = self.here.at.clone();
                point.axpy(radius / (self.here.grad_norm + xi), &self.here.grad)?;
                let there =
                    self.oracle.evaluate(&point, Pass::Probe, Order::First).map_err(at_perturbed_point)?;
                self.ahead.push(((radius, xi), there.grad));
                self.ahead.len() - 1
            }
        };
        Ok(&self.ahead[index].1)
    }
}

/// What a regulariser learnt in a step, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// The first-order estimate of the regulariser's value R(θ_t), before its coefficient.
    pub value: f64,
    /// The norm of what was added to the direction.
    pub added_norm: f64,
}

/// Changes the direction of a step: `direction += ∇R(θ_t)`.
pub trait Regularizer<O: GradOracle> {
    /// Whether this step needs Hessian-vector products at θ_t.
    fn order(&self, t: u64, oracle: &O) -> Order;
    /// Adds the regulariser's gradient at θ_t to `direction`, which starts as ∇L̂(θ_t).
    ///
    /// Appends one [`Penalty`], with its name, to `log` for each regulariser that acted.
    ///
    /// # Errors
    /// Those of the oracle; [`Error::NonFinite`](crate::Error::NonFinite) naming the norm that is not.
    fn add_gradient(
        &mut self,
        cx: &mut StepContext<'_, O>,
        direction: &mut O::Vector,
        log: &mut Vec<(&'static str, Penalty)>,
    ) -> Result<()>;
}
