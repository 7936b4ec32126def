//! The schedule of the paper's convergence theorem.

use super::{Schedule, Span, Spanning, keys, validate_constant};
use crate::{
    Result,
    registry::{Cost, Entry, Registered, Values},
};

/// The value base/√(t + 1). Theorem 2.3 has η_t = η₀/√t and ρ_t = ρ₀/√t with t from 1; steps here count from 0.
///
/// Boundaries: `at(0) = base`.
///
/// # References
/// Theorem 2.3 of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseSqrt {
    /// The value at t = 0.
    pub base: f64,
}

impl InverseSqrt {
    /// A checked schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless base ≥ 0 and finite.
    pub fn new(base: f64) -> Result<Self> {
        validate_constant("base", base, |x| x >= 0.0, "must not be negative")?;
        Ok(Self { base })
    }
}

impl Schedule for InverseSqrt {
    fn at(&self, t: u64) -> f64 {
        self.base / (t as f64 + 1.0).sqrt()
    }
}

impl Registered for InverseSqrt {
    const ENTRY: &'static Entry = &Entry {
        name: "inverse-sqrt",
        title: "inverse square root",
        doc: "The schedule of the convergence theorem: falls with the root of the number of steps, and does not know the end of the run.",
        equation: "η(t) = η₀/√(t + 1)",
        keys: &[keys::WARM_UP],
        cost: Cost::state(0),
        reference: "\"Gradient Norm Regularizer Seeks Flat Minima and Improves Generalization\", Theorem 2.3",
        resolve: None,
    };
}

impl Spanning for InverseSqrt {
    fn spanning(_: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
        Ok(Box::new(Self::new(span.peak)?))
    }
}
