//! Half a cosine from a base value down to a floor.

use super::{Schedule, Span, Spanning, keys, validate_constant};
use crate::{
    Result,
    registry::{Cost, Entry, Registered, Values},
};

/// The value floor + (base − floor)·(1 + cos(π t/total))/2 for t < total, and floor from there on.
///
/// Boundaries: `at(0) = base`, `at(total) = floor`, and `at(t) = floor` for every later t.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Cosine, Schedule};
/// let lr = Cosine::new(0.1, 200, 0.0)?;
/// assert_eq!((lr.at(0), lr.at(200)), (0.1, 0.0));
/// # Ok(())
/// # }
/// ```
///
/// # References
/// Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, Eq. 5, without restarts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The value at t = 0.
    pub base: f64,
    /// The step at which the floor is reached.
    pub total: u64,
    /// The value from `total` on.
    pub floor: f64,
}

impl Cosine {
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

impl Schedule for Cosine {
    fn at(&self, t: u64) -> f64 {
        if t == 0 && self.total > 0 {
            return self.base; // exactly: floor + (base − floor) may round
        }
        if t >= self.total {
            return self.floor;
        }
        let phase = std::f64::consts::PI * t as f64 / self.total as f64;
        self.floor + (self.base - self.floor) * (1.0 + phase.cos()) / 2.0
    }
}

impl Registered for Cosine {
    const ENTRY: &'static Entry = &Entry {
        name: "cosine",
        title: "cosine",
        doc: "Half a cosine from the peak down to a floor, which it reaches at the end of the run.",
        equation: "η(t) = floor + (η₀ − floor)·(1 + cos(πt/T))/2",
        keys: &[keys::WARM_UP, keys::floor(0.0)],
        cost: Cost::state(0),
        reference: "Loshchilov and Hutter, \"SGDR: Stochastic Gradient Descent with Warm Restarts\", ICLR 2017, Eq. 5, without restarts",
        resolve: None,
    };
}

impl Spanning for Cosine {
    fn spanning(values: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
        // After a warm-up of the whole run no step is left. The warm-up still rises towards the peak, not the floor.
        let steps = span.steps().max(1);
        Ok(Box::new(Self::new(span.peak, steps, keys::checked_floor(values, span)?)?))
    }
}
