//! `Every`: a regulariser that acts on some steps only, and costs nothing on the others.

use super::{Ending, Needs, Regularizer, StepContext};
use crate::{Error, GradOracle, Result, StateSink, StateSource};

/// Lets `inner` act when `t % period == offset`; the other steps are plain.
///
/// # Cost
/// The cost of `inner` on the steps where it acts. The others cost nothing more: they are evaluated to first order.
///
/// # References
/// Table 4 of the paper: GNR on every 10th iteration is about as good as on all, on every 20th it already helps.
#[derive(Clone, Debug, PartialEq)]
pub struct Every<R> {
    inner: R,
    period: u64,
    offset: u64,
}

impl<R> Every<R> {
    /// Lets `inner` act on the steps 0, `period`, 2·`period`, …
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] for a period of 0.
    pub fn new(inner: R, period: u64) -> Result<Self> {
        if period == 0 {
            return Err(Error::InvalidHyperparameter {
                name: "period",
                value: 0.0,
                requirement: "must be at least 1",
            });
        }
        Ok(Self { inner, period, offset: 0 })
    }

    /// Moves the steps on which `inner` acts to `offset`, `offset + period`, …
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] unless `offset < period`.
    pub fn with_offset(mut self, offset: u64) -> Result<Self> {
        if offset >= self.period {
            return Err(Error::InvalidHyperparameter {
                name: "offset",
                value: offset as f64,
                requirement: "must be less than the period",
            });
        }
        self.offset = offset;
        Ok(self)
    }

    /// Whether `inner` acts on step `t`.
    pub fn acts(&self, t: u64) -> bool {
        t % self.period == self.offset
    }
}

impl<O: GradOracle, R: Regularizer<O>> Regularizer<O> for Every<R> {
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
