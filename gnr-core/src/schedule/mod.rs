//! Schedules: hyper-parameters as pure functions of the step, so that a checkpoint stores the step alone.

mod cosine;
mod decay;
mod inverse_sqrt;
mod proportional;
mod warm_up;

pub use cosine::Cosine;
pub use decay::{Milestones, StepDecay};
pub use inverse_sqrt::InverseSqrt;
pub use proportional::Proportional;
pub use warm_up::WarmUp;

/// A hyper-parameter as a pure function of the step `t` (from 0).
pub trait Schedule {
    /// The value at step `t`.
    fn at(&self, t: u64) -> f64;
}

/// A constant.
impl Schedule for f64 {
    fn at(&self, _: u64) -> f64 {
        *self
    }
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

/// A constant hyper-parameter, checked where it enters.
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
