//! From settings to a regulariser: what a run gives it, and when it acts.

use super::{AnyRegularizer, Every, FromStep, OnSample};
use crate::{
    Result,
    registry::{Registered, Values},
    schedule::{InverseSqrt, Proportional, Schedule},
};

/// A radius over time.
pub type Radius = Box<dyn Schedule>;

/// What a regulariser takes of its run beside its settings.
pub struct Run<'r> {
    /// Makes the run's learning rate η_t.
    pub learning_rate: &'r dyn Fn() -> Result<Box<dyn Schedule>>,
    /// η₀, the learning rate's peak.
    pub peak: f64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Examples of the data set.
    pub examples: usize,
    /// What samples and random directions are drawn from.
    pub seed: u64,
    /// For each leaf of θ whether it belongs to a normalisation layer.
    pub normalisation: &'r [bool],
}

impl Run<'_> {
    /// The radius of the settings: `rho` along `rho_schedule`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) without these settings; those of the schedule.
    pub fn radius(&self, values: &Values) -> Result<Radius> {
        self.radius_of(values, "rho")
    }

    /// A radius of another key, along `rho_schedule`.
    ///
    /// # Errors
    /// As [`radius`](Self::radius).
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
    /// Whether the regulariser heeds its setting `from_epoch` itself, because it has to see the steps before it acts.
    const WATCHES: bool = false;

    /// The regulariser with these settings, acting on every step on the whole batch.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) and
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for settings that it does not take.
    fn built(values: &Values, run: &Run<'_>) -> Result<Self>;
}

/// The regulariser that the settings are of, on the steps and the part of the batch that they say.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) when no regulariser has that name; those of the regulariser.
pub fn build<V>(values: &Values, run: &Run<'_>) -> Result<FromStep<Every<OnSample<AnyRegularizer<V>>>>> {
    let or = |key: &str, default: u64| values.get(key).map_or(Ok(default), |_| values.integer(key));
    let fraction = values.get("batch_fraction").map_or(Ok(1.0), |_| values.number("batch_fraction"))?;
    let regularizer = AnyRegularizer::built(values, run)?;
    let from_epoch = if regularizer.watches() { 0 } else { or("from_epoch", 0)? };
    let sampled = OnSample::new(regularizer, fraction)?.with_seed(run.seed);
    let start = from_epoch.saturating_mul(run.steps_per_epoch);
    Ok(FromStep::new(Every::new(sampled, or("every", 1)?)?, start))
}
