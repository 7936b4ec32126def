//! tr H by random test vectors: Hutchinson, Hutch++, XTrace, each with a confidence interval and a stopping rule.

mod hutch_plus_plus;
mod hutchinson;
mod xtrace;

pub use hutch_plus_plus::{HutchPlusPlus, hutch_plus_plus};
pub use hutchinson::{Hutchinson, hutchinson};
pub use xtrace::{CORRELATION, XTrace, xtrace};

use crate::{Interval, Result, Stopping, SymmetricOperator, mean_interval};
use gnr_core::Vector;
use std::ops::ControlFlow;

/// Why sampling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEnd {
    /// The interval is as narrow as asked for.
    Tolerance,
    /// The largest sample was reached.
    Budget,
    /// The test vectors span the operator's range: the value is exact but for rounding.
    Exact,
    /// The observer asked to stop.
    Stopped,
}

/// An estimated trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceEstimate {
    /// The estimate of the trace.
    pub value: f64,
    /// The standard error of the estimate.
    pub standard_error: f64,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of the confidence interval.
    pub high: f64,
    /// Confidence over all looks.
    pub confidence: f64,
    /// Number of matvecs spent.
    pub num_matvecs: usize,
    /// The part of the trace that [`hutch_plus_plus`] computes, 0 for other methods; the samples estimate the rest.
    pub exact_part: f64,
    /// One estimate a test vector.
    pub samples: Vec<f64>,
    /// The reason why sampling ended.
    pub end: TraceEnd,
}

impl TraceEstimate {
    fn new(
        interval: Interval,
        exact_part: f64,
        samples: &[f64],
        num_matvecs: usize,
        end: TraceEnd,
        rule: &Stopping,
    ) -> Self {
        Self {
            value: exact_part + interval.mean,
            standard_error: interval.standard_error,
            low: exact_part + interval.low,
            high: exact_part + interval.high,
            confidence: rule.confidence,
            num_matvecs,
            exact_part,
            samples: samples.to_vec(),
            end,
        }
    }
}

/// The observer of a trace estimate, called after each block of products; it may break.
pub type TraceObserver<'o> = &'o mut dyn FnMut(&TraceProgress<'_>) -> ControlFlow<()>;

/// An estimate under way.
#[derive(Clone, Copy, Debug)]
pub struct TraceProgress<'s> {
    /// Matvecs so far.
    pub num_matvecs: usize,
    /// The largest number of matvecs.
    pub budget: usize,
    /// Samples so far.
    pub samples: &'s [f64],
    /// Estimate and interval from these samples, at the confidence over all looks. (One look of the stopping rule uses
    /// a higher confidence.)
    pub interval: Interval,
}

/// Samples a form vᵀHv until a stopping rule is satisfied.
struct Sampler<'s> {
    rule: &'s Stopping,
    /// The number added to the mean of the samples; the relative tolerance refers to the sum.
    exact_part: f64,
    /// Matvecs before the first sample.
    before: usize,
    block: usize,
}

impl Sampler<'_> {
    fn run<A: SymmetricOperator>(
        &self,
        operator: &mut A,
        samples: &mut Vec<f64>,
        mut vector: impl FnMut(u64) -> Result<A::Vector>,
        observer: TraceObserver<'_>,
    ) -> Result<(Interval, TraceEnd)> {
        let shifted = |interval: Interval| Interval { mean: interval.mean + self.exact_part, ..interval };
        for (size, confidence) in self.rule.looks() {
            while samples.len() < size {
                let first = samples.len();
                let count = self.block.max(1).min(size - first);
                let vs =
                    (first..first + count).map(|index| vector(index as u64)).collect::<Result<Vec<_>>>()?;
                let products = operator.matvec_block(&vs)?;
                for (v, product) in vs.iter().zip(&products) {
                    samples.push(finite(v.dot(product)?)?);
                }
                let interval = mean_interval(samples, self.rule.confidence);
                let progress = TraceProgress {
                    num_matvecs: self.before + samples.len(),
                    budget: self.before + self.rule.max_samples,
                    samples,
                    interval: Interval {
                        mean: interval.mean + self.exact_part,
                        low: interval.low + self.exact_part,
                        high: interval.high + self.exact_part,
                        ..interval
                    },
                };
                if observer(&progress).is_break() {
                    return Ok((interval, TraceEnd::Stopped));
                }
            }
            // A resumed sample that is longer than `size` has had this look before.
            if samples.len() == size || size == self.rule.max_samples {
                let interval = mean_interval(samples, confidence);
                if self.rule.satisfied(&shifted(interval)) {
                    return Ok((interval, TraceEnd::Tolerance));
                }
                if size == self.rule.max_samples {
                    return Ok((interval, TraceEnd::Budget));
                }
            }
        }
        Ok((mean_interval(samples, self.rule.confidence), TraceEnd::Budget))
    }
}

/// Returns a quadratic form that is finite; for NaN and infinities an error with a name.
fn finite(value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(gnr_core::Error::NonFinite { quantity: gnr_core::Quantity::HvpNorm, value }.into())
}
