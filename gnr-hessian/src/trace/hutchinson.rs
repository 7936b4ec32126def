//! Hutchinson's estimator: the mean of vᵀHv.

use super::{Sampler, TraceEstimate, TraceObserver};
use crate::{Distribution, Draw, Result, Stopping, SymmetricOperator};

/// Options of [`hutchinson`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hutchinson {
    /// Of the test vectors. Default Rademacher.
    pub distribution: Distribution,
    /// When to stop. Default: after 100 samples.
    pub rule: Stopping,
    /// Products at once; 0 and 1 are the same.
    pub block: usize,
}

/// tr H = E vᵀHv: unbiased, with variance 2(‖H‖²_F − Σhᵢᵢ²) a Rademacher sample and 2‖H‖²_F a Gaussian one.
///
/// `samples` holds the estimates made before, when one was stopped; new ones are appended. Test vector k is probe k.
///
/// # Errors
/// The errors of the operator; [`gnr_core::Error::NonFinite`]; options out of range.
///
/// # Cost
/// One matvec a sample; two vectors a product at once.
///
/// # References
/// Hutchinson, Commun. Statist. Simul. Comput. 19, 1990; Avron and Toledo, J. ACM 58, 2011.
pub fn hutchinson<A: SymmetricOperator>(
    operator: &mut A,
    options: &Hutchinson,
    probes: &impl Draw<A::Vector>,
    samples: &mut Vec<f64>,
    observer: TraceObserver<'_>,
) -> Result<TraceEstimate> {
    options.rule.check()?;
    let sampler = Sampler { rule: &options.rule, exact_part: 0.0, before: 0, block: options.block };
    let vector = |index| probes.draw(options.distribution, index);
    let (interval, end) = sampler.run(operator, samples, vector, observer)?;
    Ok(TraceEstimate::new(interval, 0.0, samples, samples.len(), end, &options.rule))
}
