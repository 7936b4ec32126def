//! Construction of a regulariser from settings: what the run provides, and on which steps it acts.

use super::{AnyRegularizer, Every, FromStep, OnSample};
use crate::{
    Result,
    registry::{Registered, Values},
    schedule::{InverseSqrt, Proportional, Schedule},
};

/// A radius as a function of the step.
pub type Radius = Box<dyn Schedule>;

/// The properties of a run that a regulariser needs beside its settings.
pub struct Run<'r> {
    /// Makes the run's learning-rate schedule η_t.
    pub learning_rate: &'r dyn Fn() -> Result<Box<dyn Schedule>>,
    /// The peak η₀ of the learning rate.
    pub peak: f64,
    /// Number of steps of an epoch.
    pub steps_per_epoch: u64,
    /// Number of examples of the data set.
    pub examples: usize,
    /// The seed of samples and random directions.
    pub seed: u64,
    /// For each leaf of θ, whether the leaf belongs to a normalisation layer.
    pub normalisation: &'r [bool],
}

impl Run<'_> {
    /// The radius that the settings ask for: `rho`, along `rho_schedule`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) without these settings; the errors of the schedule.
    pub fn radius(&self, values: &Values) -> Result<Radius> {
        self.radius_of(values, "rho")
    }

    /// The radius of another key, along `rho_schedule`.
    ///
    /// # Errors
    /// The errors of [`radius`](Self::radius).
    pub fn radius_of(&self, values: &Values, key: &str) -> Result<Radius> {
        let rho = values.number(key)?;
        Ok(match values.choice("rho_schedule")? {
            "inverse-sqrt" => Box::new(InverseSqrt::new(rho)?),
            "proportional-to-lr" => Box::new(Proportional::new((self.learning_rate)()?, self.peak, rho)?),
            _ => Box::new(rho),
        })
    }
}

/// A regulariser that a recipe can name.
pub trait Built: Registered + Sized {
    /// Whether the regulariser interprets its setting `from_epoch` itself, because it has to see the steps before it
    /// acts.
    const WATCHES: bool = false;

    /// Makes the regulariser with these settings, acting on every step on the whole batch.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) and
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for settings that the regulariser does not
    /// take.
    fn built(values: &Values, run: &Run<'_>) -> Result<Self>;
}

/// Makes the regulariser that the settings belong to, acting on the steps and the part of the batch that they name.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) when no regulariser has that name; the errors of the regulariser.
pub fn build<V>(values: &Values, run: &Run<'_>) -> Result<FromStep<Every<OnSample<AnyRegularizer<V>>>>> {
    let or = |key: &str, default: u64| values.get(key).map_or(Ok(default), |_| values.integer(key));
    let fraction = values.get("batch_fraction").map_or(Ok(1.0), |_| values.number("batch_fraction"))?;
    let regularizer = AnyRegularizer::built(values, run)?;
    let from_epoch = if regularizer.watches() { 0 } else { or("from_epoch", 0)? };
    let sampled = OnSample::new(regularizer, fraction)?.with_seed(run.seed);
    let start = from_epoch.saturating_mul(run.steps_per_epoch);
    Ok(FromStep::new(Every::new(sampled, or("every", 1)?)?, start))
}
