//! A schedule that always has one value.

use super::{Schedule, Span, Spanning, keys};
use crate::{
    Result,
    registry::{Cost, Entry, Registered, Values},
};

/// A number is the schedule that is constant.
impl Schedule for f64 {
    fn at(&self, _: u64) -> f64 {
        *self
    }
}

impl Registered for f64 {
    const ENTRY: &'static Entry = &Entry {
        name: "constant",
        title: "constant",
        doc: "The same value at every step after the warm-up.",
        equation: "η(t) = η₀",
        keys: &[keys::WARM_UP],
        cost: Cost::state(0),
        reference: "Bottou, Curtis and Nocedal, \"Optimization Methods for Large-Scale Machine Learning\", SIAM Review 2018, Theorem 4.6",
        resolve: None,
    };
}

impl Spanning for f64 {
    fn spanning(_: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
        Ok(Box::new(span.peak))
    }
}
