//! Hutchinson's estimator: the mean of vᵀHv.

use super::{Sampler, TraceEstimate, TraceObserver};
use crate::{Distribution, Draw, Result, Stopping, SymmetricOperator};

/// Options of [`hutchinson`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hutchinson {
    /// Distribution of the test vectors; default Rademacher.
    pub distribution: Distribution,
    /// The rule that ends sampling. Default: 100 samples.
    pub rule: Stopping,
    /// Number of products at once; 0 counts as 1.
    pub block: usize,
}

/// Estimates tr H = E vᵀHv without bias. The variance of a sample is 2(‖H‖²_F − Σhᵢᵢ²) for Rademacher
/// vectors and 2‖H‖²_F for Gaussian ones.
///
/// `samples` holds the samples of a run that was stopped, or none; new ones are appended. Test vector k is probe k.
///
/// # Errors
/// The errors of the operator; [`gnr_core::Error::NonFinite`]; options out of range.
///
/// # Cost
/// One matvec a sample; two vectors for each product of a block.
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
