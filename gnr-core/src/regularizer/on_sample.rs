//! `OnSample`: a regulariser that acts on a part of the mini-batch only.

use super::{Ending, Needs, Regularizer, StepContext};
use crate::{
    Pass, Result, Sample, SampledOracle, StateSink, StateSource, random::SplitMix64,
    schedule::validate_constant,
};

/// Lets `inner` act on L̂ of a seeded sample of the mini-batch, drawn anew in each step. The base step still uses the
/// whole batch.
///
/// ∇R of a sample is a noisier estimate than ∇R of the batch, at a fraction of the cost. Its expectation is that of
/// a batch as small as the sample. BatchNorm normalises a sample by the sample's own statistics.
///
/// # Cost
/// `fraction` times the cost of `inner`, and `fraction` gradients for L̂ of the sample at θ, since the batch's own
/// gradient cannot be shared. With one-sided differences a step of [`Gnr`](super::Gnr) comes to 1 + 4·`fraction`
/// gradients instead of 4. A fraction of 1 changes nothing and costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct OnSample<R> {
    inner: R,
    fraction: f64,
    seed: u64,
}

impl<R> OnSample<R> {
    /// Lets `inner` act on the given fraction of each batch; seed 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless 0 < fraction ≤ 1.
    pub fn new(inner: R, fraction: f64) -> Result<Self> {
        validate_constant("fraction", fraction, |x| x > 0.0 && x <= 1.0, "must lie in (0, 1]")?;
        Ok(Self { inner, fraction, seed: 0 })
    }

    /// Sets the seed of the samples. The seed of step t is a function of this seed and t.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn sample(&self, t: u64) -> Sample {
        let seed = SplitMix64::new(self.seed).next_u64().wrapping_add(t);
        Sample::new(self.fraction, seed)
    }
}

impl<O: SampledOracle, R: Regularizer<O>> Regularizer<O> for OnSample<R> {
    fn needs(&self, t: u64, oracle: &O) -> Needs {
        if self.fraction < 1.0 { Needs::NONE } else { self.inner.needs(t, oracle) }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        if self.fraction >= 1.0 {
            return self.inner.add_gradient(cx);
        }
        let (t, at) = (cx.t, &*cx.here.at);
        cx.oracle.restrict(Some(self.sample(t)))?;
        let needs = self.inner.needs(t, cx.oracle);
        let added = cx.oracle.evaluate(at, Pass::Probe, needs.order).and_then(|here| {
            self.inner.add_gradient(&mut StepContext::new(t, &here, cx.oracle, needs, cx.change))
        });
        // The oracle must answer for the whole batch again, after an error, too.
        cx.oracle.restrict(None)?;
        added
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
