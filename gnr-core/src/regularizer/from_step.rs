//! `FromStep`: a regulariser that starts late, and costs nothing before.

use super::{Ending, Needs, Regularizer, StepContext};
use crate::{GradOracle, Result, StateSink, StateSource};

/// Lets `inner` act on the steps t ≥ `start`; the steps before are plain. Steps are counted from 0, so `start` is the
/// number of plain steps.
///
/// `inner` gets the step's own number: a schedule of its radius runs from step 0, not from `start`. Together with
/// [`Every`](super::Every), in either order, `inner` acts on the steps on which both let it.
///
/// # Cost
/// The cost of `inner` from `start` on. The steps before cost nothing more: they are evaluated to first order, and
/// announce nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct FromStep<R> {
    inner: R,
    start: u64,
}

impl<R> FromStep<R> {
    /// Lets `inner` act on the steps `start`, `start + 1`, …
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
        if self.acts(t) { self.inner.needs(t, oracle) } else { Needs::NONE }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        if self.acts(cx.t) { self.inner.add_gradient(cx) } else { Ok(()) }
    }

    fn end_step(&mut self, ending: Ending) {
        self.inner.end_step(ending);
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        self.inner.save(sink)
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        self.inner.load(source)
    }
}
