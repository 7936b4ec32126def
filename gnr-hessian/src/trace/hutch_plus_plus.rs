//! Hutch++: the trace over a random subspace exactly, and the rest by sampling.

use super::{Sampler, TraceEnd, TraceEstimate, TraceObserver, TraceProgress, finite};
use crate::{
    Distribution, Draw, Interval, Result, Stopping, SymmetricOperator, lanczos::step::orthogonalise,
};
use gnr_core::Vector;

/// Options of [`hutch_plus_plus`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HutchPlusPlus {
    /// Number of vectors that span the subspace, two matvecs each; default 20.
    pub sketch: usize,
    /// The rule that ends the sampling of the rest; its tolerance is relative to the whole trace. Default: 100 samples.
    pub rule: Stopping,
    /// Number of products at once; 0 counts as 1.
    pub block: usize,
}

impl Default for HutchPlusPlus {
    fn default() -> Self {
        Self { sketch: 20, rule: Stopping::default(), block: 1 }
    }
}

/// Estimates tr H = tr QᵀHQ + tr (I−QQᵀ)H(I−QQᵀ), where Q is an orthonormal basis of H·S for a random S. The
/// first part is computed. The second part, which has lost the dominant eigenvalues, is estimated by Rademacher
/// samples. The interval is conditional on Q, hence valid.
///
/// # Errors
/// The errors of [`hutchinson`](super::hutchinson()).
///
/// # Cost
/// 2·sketch + samples matvecs; sketch + 2·block vectors.
///
/// # Deviation
/// The paper splits a given budget in three equal parts; here the sketch has a size of its own and sampling goes on
/// until the rule is satisfied.
///
/// # References
/// Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal stochastic trace estimation", SOSA 2021, Algorithm 1.
pub fn hutch_plus_plus<A: SymmetricOperator>(
    operator: &mut A,
    options: &HutchPlusPlus,
    probes: &impl Draw<A::Vector>,
    observer: TraceObserver<'_>,
) -> Result<TraceEstimate> {
    options.rule.check()?;
    let sketch = options.sketch.min(operator.dim());
    let block = options.block.max(1);
    let (mut basis, mut exact_part, mut num_matvecs): (Vec<A::Vector>, f64, usize) = (Vec::new(), 0.0, 0);
    let unknown =
        |mean| Interval { mean, standard_error: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY };
    let budget = 2 * sketch + options.rule.max_samples;
    let stopped = |exact_part, num_matvecs| {
        TraceEstimate::new(unknown(0.0), exact_part, &[], num_matvecs, TraceEnd::Stopped, &options.rule)
    };
    let mut first = 0;
    while first < sketch {
        let count = block.min(sketch - first);
        let starts = (first..first + count).map(|index| probes.draw(Distribution::Gaussian, index as u64));
        let starts = starts.collect::<Result<Vec<_>>>()?;
        let products = operator.matvec_block(&starts)?;
        num_matvecs += count;
        for mut product in products {
            let before = product.norm()?;
            let norm = orthogonalise(&mut product, basis.iter())?;
            // Nothing is left where the operator's rank is smaller than the sketch.
            if norm > 1e-6 * before {
                product.scale(1.0 / norm)?;
                orthogonalise(&mut product, basis.iter())?;
                product.scale(1.0 / product.norm()?)?;
                basis.push(product);
            }
        }
        first += count;
        let interval = unknown(exact_part);
        if observer(&TraceProgress { num_matvecs, budget, samples: &[], interval }).is_break() {
            return Ok(stopped(exact_part, num_matvecs));
        }
    }
    for chunk in basis.chunks(block) {
        let products = operator.matvec_block(chunk)?;
        num_matvecs += chunk.len();
        for (q, product) in chunk.iter().zip(&products) {
            exact_part += finite(q.dot(product)?)?;
        }
        let interval = unknown(exact_part);
        if observer(&TraceProgress { num_matvecs, budget, samples: &[], interval }).is_break() {
            return Ok(stopped(exact_part, num_matvecs));
        }
    }
    let mut samples = Vec::new();
    let sampler = Sampler { rule: &options.rule, exact_part, before: num_matvecs, block };
    let vector = |index: u64| {
        let mut v: A::Vector = probes.draw(Distribution::Rademacher, sketch as u64 + index)?;
        orthogonalise(&mut v, basis.iter())?;
        Ok(v)
    };
    let (interval, end) = sampler.run(operator, &mut samples, vector, observer)?;
    num_matvecs += samples.len();
    Ok(TraceEstimate::new(interval, exact_part, &samples, num_matvecs, end, &options.rule))
}
