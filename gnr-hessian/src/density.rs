//! The spectral density by stochastic Lanczos quadrature.

use crate::{
    Distribution, Draw, Lanczos, LanczosState, Reorthogonalization, Result, SymmetricOperator, Which,
};
use std::ops::ControlFlow;

/// Options of [`spectral_density`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityOptions {
    /// Number of independent start vectors; default 10.
    pub starts: usize,
    /// Number of Lanczos steps from each start; default 100.
    pub steps: usize,
    /// Distribution of the start vectors; default Rademacher.
    pub distribution: Distribution,
    /// Number of starts that advance together, so that several products are made at once; default 1. Each needs its own
    /// basis of `steps` vectors.
    pub at_once: usize,
    /// The reorthogonalisation of the basis; default full.
    pub reorthogonalization: Reorthogonalization,
}

impl Default for DensityOptions {
    fn default() -> Self {
        Self {
            starts: 10,
            steps: 100,
            distribution: Distribution::Rademacher,
            at_once: 1,
            reorthogonalization: Reorthogonalization::Full,
        }
    }
}

/// Quadrature nodes and weights of one start: ⟨v, f(H)v⟩/‖v‖² ≈ Σ wₖ f(θₖ), Σ wₖ = 1.
pub type Quadrature = Vec<(f64, f64)>;

/// The spectral density ρ(λ) = (1/d) Σ δ(λ − λᵢ) of an operator, as quadratures of several starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpectralDensity {
    /// The dimension d.
    pub dim: usize,
    /// The quadrature of each finished start.
    pub quadratures: Vec<Quadrature>,
    /// Number of matvecs spent on these quadratures.
    pub num_matvecs: usize,
}

/// A density under way: the quadratures of finished starts, and the states of the starts that advance together now. A
/// saved state can be continued later.
#[derive(Clone, Debug)]
pub struct DensityState<V> {
    /// Quadratures of finished starts.
    pub density: SpectralDensity,
    /// Lanczos runs that have begun and are not finished.
    pub running: Vec<LanczosState<V>>,
}

impl<V> DensityState<V> {
    /// A density without a finished start.
    pub fn new(dim: usize) -> Self {
        let density = SpectralDensity { dim, ..SpectralDensity::default() };
        Self { density, running: Vec::new() }
    }
    /// Matvecs so far.
    pub fn num_matvecs(&self) -> usize {
        self.density.num_matvecs + self.running.iter().map(|state| state.num_matvecs).sum::<usize>()
    }
}

/// Runs Lanczos' process from [`starts`](DensityOptions::starts) random vectors. Returns true when all starts are
/// finished, false when the observer broke. Start k is probe k.
///
/// Each start's quadrature is exact for polynomials of degree 2·steps − 1; the mean over starts is an unbiased estimate
/// of their trace, so of every smooth functional of the density. A start whose Krylov space ends early is exact.
///
/// # Errors
/// The errors of the operator.
///
/// # Cost
/// starts·steps matvecs; at_once·steps vectors.
///
/// # References
/// Ubaru, Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", SIAM J. Matrix Anal. Appl.
/// 38, 2017; Ghorbani, Krishnan and Xiao, ICML 2019.
pub fn spectral_density<A: SymmetricOperator>(
    operator: &mut A,
    options: &DensityOptions,
    state: &mut DensityState<A::Vector>,
    probes: &impl Draw<A::Vector>,
    observer: &mut dyn FnMut(&DensityState<A::Vector>) -> ControlFlow<()>,
) -> Result<bool> {
    let dim = operator.dim();
    let steps = options.steps.clamp(1, dim.max(1));
    let lanczos = Lanczos {
        max_basis: Some(steps),
        reorthogonalization: options.reorthogonalization,
        ..Lanczos::new(Which::Top(1))
    };
    while state.density.quadratures.len() < options.starts {
        if state.running.is_empty() {
            let first = state.density.quadratures.len();
            let count = options.at_once.max(1).min(options.starts - first);
            for index in first..first + count {
                let start = probes.draw(options.distribution, index as u64)?;
                // Random vectors that replace vanished ones are never used: a vanished one ends the run.
                state.running.push(LanczosState::from_starts(vec![start], 0)?);
            }
        }
        let is_finished = |running: &LanczosState<A::Vector>| {
            running.basis.len() >= steps
                || running.next.is_empty()
                || (!running.basis.is_empty() && running.coupling.iter().flatten().all(|c| *c == 0.0))
        };
        let active: Vec<usize> =
            (0..state.running.len()).filter(|&index| !is_finished(&state.running[index])).collect();
        if active.is_empty() {
            for running in state.running.drain(..) {
                state.density.num_matvecs += running.num_matvecs;
                let ritz = running.ritz();
                let weights = ritz.vectors.iter().map(|s| s[0] * s[0]);
                state.density.quadratures.push(ritz.values.iter().copied().zip(weights).collect());
            }
            continue;
        }
        let vs: Vec<_> = active.iter().map(|&index| state.running[index].next[0].clone()).collect();
        let products = operator.matvec_block(&vs)?;
        for (&index, product) in active.iter().zip(products) {
            state.running[index].absorb(vec![product], dim, &lanczos, probes)?;
        }
        if observer(state).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl SpectralDensity {
    /// The smallest and the largest node; `None` without a finished start.
    pub fn range(&self) -> Option<(f64, f64)> {
        let nodes = || self.quadratures.iter().flatten().map(|(node, _)| *node);
        let (low, high) = (nodes().reduce(f64::min)?, nodes().reduce(f64::max)?);
        Some((low, high))
    }

    /// The estimate of (1/d)·tr f(H) from each start. Their mean is the estimate from all starts.
    pub fn functional(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        (self.quadratures.iter())
            .map(|quadrature| quadrature.iter().map(|(node, weight)| weight * f(*node)).sum())
            .collect()
    }

    /// The density convolved with a normal of standard deviation `sigma`, at each point: mean and standard error over
    /// starts (NaN for one start).
    pub fn smoothed(&self, points: &[f64], sigma: f64) -> Vec<(f64, f64)> {
        let norm = 1.0 / (sigma * std::f64::consts::TAU.sqrt());
        points
            .iter()
            .map(|&point| {
                let values = self.functional(|node| norm * (-0.5 * ((point - node) / sigma).powi(2)).exp());
                let n = values.len() as f64;
                let mean = values.iter().sum::<f64>() / n;
                let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
                (mean, (squares / (n * (n - 1.0))).sqrt())
            })
            .collect()
    }
}
