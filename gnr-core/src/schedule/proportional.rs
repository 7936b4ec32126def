//! A hyper-parameter that follows another one, such as ρ the learning rate.

use super::{Schedule, validate_constant};
use crate::Result;

/// The value at_peak·to(t)/peak: proportional to the schedule `to`, and `at_peak` where `to` is at its `peak`.
///
/// Boundaries: those of `to`; where the learning rate is 0 the value is 0, so ρ vanishes together with η.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Cosine, Gnr, Proportional};
/// let lr = Cosine::new(0.1, 200, 0.0)?;
/// let gnr = Gnr::scheduled(Proportional::new(lr, 0.1, 0.05)?, 0.1); // ρ from 0.05 down with η, α constant
/// # let _ = gnr;
/// # Ok(())
/// # }
/// ```
///
/// # References
/// Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training", ICLR 2022 (their ρ_t, with ρ_min =
/// lr_min = 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportional<S> {
    /// The schedule that is followed, usually the learning rate.
    pub to: S,
    /// The largest value of `to`.
    pub peak: f64,
    /// The value where `to` is at its peak.
    pub at_peak: f64,
}

impl<S: Schedule> Proportional<S> {
    /// A checked schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless peak > 0 and at_peak ≥ 0, both
    /// finite.
    pub fn new(to: S, peak: f64, at_peak: f64) -> Result<Self> {
        validate_constant("peak", peak, |x| x > 0.0, "must be positive")?;
        validate_constant("at_peak", at_peak, |x| x >= 0.0, "must not be negative")?;
        Ok(Self { to, peak, at_peak })
    }
}

impl<S: Schedule> Schedule for Proportional<S> {
    fn at(&self, t: u64) -> f64 {
        self.at_peak * (self.to.at(t) / self.peak)
    }
}
