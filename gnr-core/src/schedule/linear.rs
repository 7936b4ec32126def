//! A straight line from a base value down to a floor.

use super::{Schedule, Span, Spanning, keys, validate_constant};
use crate::{
    Result,
    registry::{Cost, Entry, Registered, Values},
};

/// The value base + (floor − base)·t/total for t < total, and floor from there on.
///
/// Boundaries: `at(0) = base`, `at(total) = floor`, and `at(t) = floor` for every later t.
///
/// # References
/// Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements", 2023 (arXiv 2310.07831).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The value at t = 0.
    pub base: f64,
    /// The step at which the floor is reached.
    pub total: u64,
    /// The value from `total` on.
    pub floor: f64,
}

impl Linear {
    /// A checked schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless 0 ≤ floor ≤ base < ∞.
    pub fn new(base: f64, total: u64, floor: f64) -> Result<Self> {
        validate_constant("base", base, |x| x >= 0.0, "must not be negative")?;
        validate_constant("floor", floor, |x| (0.0..=base).contains(&x), "must lie in [0, base]")?;
        Ok(Self { base, total, floor })
    }
}

impl Schedule for Linear {
    fn at(&self, t: u64) -> f64 {
        if t >= self.total {
            return self.floor;
        }
        self.base + (self.floor - self.base) * (t as f64 / self.total as f64)
    }
}

impl Registered for Linear {
    const ENTRY: &'static Entry = &Entry {
        name: "linear",
        title: "linear",
        doc: "A straight line from the peak down to a floor, which it reaches at the end of the run.",
        equation: "η(t) = η₀ + (floor − η₀)·t/T",
        keys: &[keys::WARM_UP, keys::floor(0.0)],
        cost: Cost::state(0),
        reference: "Defazio et al., \"Optimal Linear Decay Learning Rate Schedules and Further Refinements\", 2023",
        resolve: None,
    };
}

impl Spanning for Linear {
    fn spanning(values: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
        // After a warm-up of the whole run no step is left. The warm-up still rises towards the peak, not the floor.
        let steps = span.steps().max(1);
        Ok(Box::new(Self::new(span.peak, steps, keys::checked_floor(values, span)?)?))
    }
}
