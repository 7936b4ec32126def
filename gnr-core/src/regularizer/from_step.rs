//! `FromStep`: a regulariser that starts late, and costs nothing before.

use super::{Needs, Penalty, Regularizer, StepContext};
use crate::{GradOracle, Order, Result};

/// Lets `inner` act on the steps t ≥ `start`; a plain step before. Steps are counted from 0, so `start` is the number of
/// plain steps.
///
/// `inner` sees the step's own number: a schedule of its radius runs from step 0, not from `start`. Together with
/// [`Every`](super::Every), in either order, a step needs both.
///
/// # Cost
/// That of `inner` from `start` on. Before, nothing: those steps are evaluated to first order, and nothing is announced.
#[derive(Clone, Debug, PartialEq)]
pub struct FromStep<R> {
    inner: R,
    start: u64,
}

impl<R> FromStep<R> {
    /// `inner` on the steps `start`, `start + 1`, …
    pub fn new(inner: R, start: u64) -> Self {
        Self { inner, start }
    }

    /// Whether `inner` acts on step `t`.
    pub fn acts(&self, t: u64) -> bool {
        t >= self.start
    }
}

impl<O: GradOracle, R: Regularizer<O>> Regularizer<O> for FromStep<R> {
    fn needs(&self, t: u64, oracle: &O) -> Needs {
        if self.acts(t) { self.inner.needs(t, oracle) } else { Needs::of(Order::First) }
    }

    fn add_gradient(
        &mut self,
        cx: &mut StepContext<'_, O>,
        direction: &mut O::Vector,
        log: &mut Vec<(&'static str, Penalty)>,
    ) -> Result<()> {
        if self.acts(cx.t) { self.inner.add_gradient(cx, direction, log) } else { Ok(()) }
    }
}
