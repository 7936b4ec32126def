//! Regularisers: what changes the direction of a step. One file each.

mod combine;
mod every;
mod from_step;
mod gnr;
mod on_sample;
mod sam;

pub use every::Every;
pub use from_step::FromStep;
pub use gnr::Gnr;
pub use on_sample::OnSample;
pub use sam::Sam;

use crate::{Evaluation, GradOracle, Order, Result, Vector, error::at_perturbed_point};

/// What a regulariser may see and ask during one step.
pub struct StepContext<'a, O: GradOracle> {
    /// The step's number, from 0.
    pub t: u64,
    /// L̂ and ∇L̂ at θ_t: computed once, shared by everyone.
    pub here: &'a Evaluation<'a, O::Vector, O::Record>,
    /// The step's mini-batch.
    pub oracle: &'a mut O,
    /// Gradients ahead of θ_t that will be asked for again.
    ahead: Vec<(Ahead, O::Vector)>,
    /// Those that were announced and not asked for yet, each as often.
    announced: Vec<Ahead>,
}

/// A gradient ahead of θ_t, by its distance and ξ: see [`StepContext::ahead`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// Distance from θ_t.
    pub radius: f64,
    /// The small constant of the division by the gradient's norm.
    pub xi: f64,
}

/// What a regulariser will ask for in one step, known before the step's own evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// Whether Hessian-vector products at θ_t will be asked for.
    pub order: Order,
    /// Gradients ahead of θ_t, each once for every time that it will be asked for.
    pub ahead: Vec<Ahead>,
}

impl Needs {
    /// Products or none, and nothing ahead.
    pub fn of(order: Order) -> Self {
        Self { order, ahead: Vec::new() }
    }

    /// The needs of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.order = self.order.max(other.order);
        self.ahead.extend(other.ahead);
        self
    }
}

impl<'a, O: GradOracle> StepContext<'a, O> {
    /// A context at the point that was just evaluated, for regularisers of these needs.
    pub fn new(
        t: u64,
        here: &'a Evaluation<'a, O::Vector, O::Record>,
        oracle: &'a mut O,
        needs: Needs,
    ) -> Self {
        Self { t, here, oracle, ahead: Vec::new(), announced: needs.ahead }
    }

    /// ∇L̂(θ + r·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ)): the gradient at distance r along the gradient.
    ///
    /// Evaluated once a step, however many announced it in their [`Needs`], so SAM and a finite-difference GNR of equal radius
    /// share it; kept until the last of them asked. Who did not announce it may have to evaluate it again.
    ///
    /// # Errors
    /// Those of [`GradOracle::evaluate`].
    ///
    /// # Cost
    /// One gradient and one vector the first time, nothing afterwards.
    pub fn ahead(&mut self, which: Ahead) -> Result<O::Vector> {
        if let Some(index) = self.announced.iter().position(|announced| *announced == which) {
            self.announced.swap_remove(index);
        }
        let again = self.announced.contains(&which);
        if let Some(index) = self.ahead.iter().position(|(known, _)| *known == which) {
            return Ok(if again { self.ahead[index].1.clone() } else { self.ahead.swap_remove(index).1 });
        }
        let mut point = self.here.at.clone().into_owned();
        point.axpy(which.radius / (self.here.grad_norm + which.xi), &self.here.grad)?;
        let grad = self.oracle.gradient_at(point).map_err(at_perturbed_point)?;
        if again {
            self.ahead.push((which, grad.clone()));
        }
        Ok(grad)
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
    /// What [`add_gradient`](Self::add_gradient) will ask for in this step.
    fn needs(&self, t: u64, oracle: &O) -> Needs;
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
