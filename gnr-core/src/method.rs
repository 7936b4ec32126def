//! One step of training: base direction, regularisers, clipping, optimiser.

use crate::{
    GradOracle, Optimizer, Pass, Penalty, Quantity, Regularizer, Result, Schedule, StepContext, Vector,
    error::finite, schedule::validate_constant,
};

/// Bounds on the direction's norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Leave the direction alone.
    None,
    /// Scale the direction down to this norm when it is longer.
    Norm(f64),
}

impl Clip {
    /// [`Clip::Norm`], checked.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless `max` > 0 and finite.
    pub fn norm(max: f64) -> Result<Self> {
        validate_constant("clip", max, |x| x > 0.0, "the largest norm must be positive and finite")?;
        Ok(Self::Norm(max))
    }
}

/// A training method as a value: regulariser, optimiser, learning-rate schedule, clipping.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Clip, Cosine, Every, Gnr, Method, Sam, Sgd};
/// let method = Method {
///     regularizer: (Sam::new(0.05)?, Every::new(Gnr::new(0.1, 0.1)?, 10)?),
///     optimizer: Sgd::<Vec<f32>>::new().with_momentum(0.9)?.with_weight_decay(5e-4)?,
///     learning_rate: Cosine::new(0.1, 200, 0.0)?,
///     clip: Clip::norm(5.0)?,
/// };
/// # let _ = method;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Method<R, P, S> {
    /// What is added to ∇L̂(θ_t); `()` for plain training.
    pub regularizer: R,
    /// How θ moves.
    pub optimizer: P,
    /// η_t.
    pub learning_rate: S,
    /// Applied to the final direction, regularisers included.
    pub clip: Clip,
}

/// What a step saw.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// L̂(θ_t) before the step.
    pub loss: f64,
    /// ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
    /// The direction's norm, before clipping.
    pub direction_norm: f64,
    /// η_t.
    pub learning_rate: f64,
    /// One entry for each regulariser that acted in this step.
    pub penalties: Vec<(&'static str, Penalty)>,
}

impl<R, P, S: Schedule> Method<R, P, S> {
    /// Step `t` on one mini-batch: one [`Pass::Commit`] evaluation at θ_t, then θ changes, once.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a learning rate that is negative or not
    /// finite; those of the oracle, the regularisers and the optimiser. θ is unchanged unless the optimiser itself failed.
    pub fn step<O>(&mut self, t: u64, theta: &mut O::Vector, oracle: &mut O) -> Result<StepReport>
    where
        O: GradOracle,
        R: Regularizer<O>,
        P: Optimizer<O::Vector>,
    {
        let learning_rate = self.learning_rate.at(t);
        validate_constant("learning_rate", learning_rate, |x| x >= 0.0, "must be finite and not negative")?;
        let needs = self.regularizer.needs(t, oracle);
        let here = oracle.evaluate(theta, Pass::Commit, needs.order)?;
        let mut direction = here.grad.clone();
        let mut penalties = Vec::new();
        self.regularizer.add_gradient(
            &mut StepContext::new(t, &here, oracle, needs),
            &mut direction,
            &mut penalties,
        )?;
        let direction_norm = finite(Quantity::DirectionNorm, direction.dot(&direction)?.sqrt())?;
        if let Clip::Norm(max) = self.clip
            && direction_norm > max
        {
            direction.scale(max / direction_norm)?;
        }
        let (loss, grad_norm) = (here.loss, here.grad_norm);
        drop(here);
        self.optimizer.step(theta, &direction, learning_rate)?;
        Ok(StepReport { loss, grad_norm, direction_norm, learning_rate, penalties })
    }
}
