//! Schedules: hyper-parameters as pure functions of the step, so that a checkpoint stores the step alone.

mod constant;
mod cosine;
mod decay;
mod inverse_sqrt;
mod keys;
mod linear;
mod proportional;
mod warm_up;

pub use cosine::Cosine;
pub use decay::{Milestones, StepDecay};
pub use inverse_sqrt::InverseSqrt;
pub use linear::Linear;
pub use proportional::Proportional;
pub use warm_up::WarmUp;

use crate::{
    Result,
    registry::{Entry, Registered, Values},
};

/// A hyper-parameter as a pure function of the step `t` (from 0).
pub trait Schedule {
    /// The value at step `t`.
    fn at(&self, t: u64) -> f64;
}

impl<S: Schedule + ?Sized> Schedule for &S {
    fn at(&self, t: u64) -> f64 {
        (**self).at(t)
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn at(&self, t: u64) -> f64 {
        (**self).at(t)
    }
}

/// The run that a schedule spans. Settings of schedules count epochs; schedules count steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The value η₀ at the end of the warm-up.
    pub peak: f64,
    /// Number of epochs of the run.
    pub epochs: u64,
    /// Number of steps of an epoch.
    pub steps_per_epoch: u64,
    /// Number of steps of warm-up before the schedule begins; [`build`] sets it from the settings.
    pub warm_up: u64,
}

impl Span {
    /// A run without warm-up.
    pub fn new(peak: f64, epochs: u64, steps_per_epoch: u64) -> Self {
        Self { peak, epochs, steps_per_epoch, warm_up: 0 }
    }

    /// Number of steps of the run after the warm-up.
    pub fn steps(&self) -> u64 {
        self.epochs.saturating_mul(self.steps_per_epoch).saturating_sub(self.warm_up)
    }

    /// The step, counted from the end of the warm-up, at which `epoch` epochs of the run are complete; 0 within the
    /// warm-up.
    pub fn after(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.steps_per_epoch).saturating_sub(self.warm_up)
    }

    /// The span with a warm-up of `warmup_epochs` epochs, at most the whole run.
    fn warmed(mut self, warmup_epochs: f64) -> Self {
        let total = self.epochs.saturating_mul(self.steps_per_epoch);
        // A cast from a float to an integer saturates, so an absurd warm-up becomes one of the whole run.
        self.warm_up = ((warmup_epochs * self.steps_per_epoch as f64).round() as u64).min(total);
        self
    }
}

/// A schedule that a recipe can name.
pub trait Spanning: Registered {
    /// Makes the schedule with these settings over the part of a run that follows its warm-up.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) and
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for settings that do not go with the run.
    fn spanning(values: &Values, span: &Span) -> Result<Box<dyn Schedule>>;
}

/// Lists the entries of schedules and builds them by name.
macro_rules! schedules {
    ($($name:ident),+ $(,)?) => {
        /// Every schedule that has a name, in the order of listings.
        pub fn entries() -> &'static [&'static Entry] {
            &[$(<$name as Registered>::ENTRY),+]
        }

        fn after_warm_up(values: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
            $(if values.of() == <$name as Registered>::ENTRY.name {
                return <$name as Spanning>::spanning(values, span);
            })+
            Err(crate::registry::unknown("schedule", entries(), values.of()))
        }
    };
}

schedules! {
    f64,
    Cosine,
    StepDecay,
    InverseSqrt,
    Linear,
}

/// Makes the schedule that the settings belong to, with the warm-up before it.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) when no schedule has that name; the errors of the schedule.
///
/// ```
/// use gnr_core::{registry, schedule};
/// let cosine = registry::find(schedule::entries(), "cosine").expect("registered");
/// let values = cosine.values([("warmup_epochs", 1.0.into())])?;
/// let rate = schedule::build(&values, schedule::Span::new(0.1, 30, 100))?;
/// assert_eq!((rate.at(100), rate.at(3000)), (0.1, 0.0));
/// # Ok::<(), gnr_core::Error>(())
/// ```
pub fn build(values: &Values, span: Span) -> Result<Box<dyn Schedule>> {
    let span = span.warmed(values.number(keys::WARM_UP.name)?);
    Ok(Box::new(WarmUp::new(span.warm_up, after_warm_up(values, &span)?)))
}

/// Checks a constant hyper-parameter: `valid` must hold and the value be finite.
pub(crate) fn validate_constant(
    name: &'static str,
    value: f64,
    valid: impl Fn(f64) -> bool,
    requirement: &'static str,
) -> crate::Result<()> {
    if value.is_finite() && valid(value) {
        Ok(())
    } else {
        Err(crate::Error::InvalidHyperparameter { name, value, requirement })
    }
}
