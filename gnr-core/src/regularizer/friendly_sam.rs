//! Friendly-SAM: SAM along the difference between a batch's gradient and the running mean of gradients.

use super::{Built, Ending, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys, memory::Memory};
use crate::{
    GradOracle, Result, Schedule, StateSink, StateSource, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// Friendly-SAM (F-SAM): SAM that perturbs along the noise of the batch's gradient, which is ∇L̂ minus an estimate of
/// the gradient of all examples. The estimate is a running mean m of the batches' gradients.
///
/// > d = ∇L̂ − σ·m,  m ← λ·m + (1 − λ)·∇L̂,  h = ∇L̂(θ + ρ·d/(‖d‖ + ξ)); in the first step d = m = ∇L̂.
///
/// Defaults: ρ = 0.05, σ = 1, λ = 0.9, those of the authors' class; ξ = 1e-12. (Their script for CIFAR-100 has ρ = 0.2
/// and λ = 0.6.) State: `mean`. On steps without the regulariser m stays. In a step over groups m
/// moves once for each group.
///
/// # Cost
/// One gradient and four vectors on top of the base step, one of them kept.
///
/// # References
/// Li et al., "Friendly Sharpness-Aware Minimization", CVPR 2024.
///
/// # Deviation
/// As in the authors' code, ∇L̂ is added to m after m was subtracted, and m starts as the first gradient. Where σ = 1,
/// a mean that already contains ∇L̂ would give an equal direction: ∇L̂ − (λm + (1 − λ)∇L̂) = λ·(∇L̂ − m).
#[derive(Clone, Debug)]
pub struct FriendlySam<V, R = f64> {
    rho: R,
    sigma: f64,
    lambda: f64,
    mean: Memory<V>,
}

impl<V> FriendlySam<V> {
    /// Friendly-SAM with constant radius ρ > 0, strength σ ≥ 0 of the subtraction and decay λ in [0, 1).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, sigma: f64, lambda: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, sigma, lambda)
    }
}

impl<V, R> FriendlySam<V, R> {
    /// Friendly-SAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless σ ≥ 0 and finite, and λ lies in [0,
    /// 1).
    pub fn scheduled(rho: R, sigma: f64, lambda: f64) -> Result<Self> {
        validate_constant("sigma", sigma, |x| x >= 0.0, "the strength must not be negative")?;
        validate_constant("lambda", lambda, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        Ok(Self { rho, sigma, lambda, mean: Memory::new() })
    }
}

impl<V, R> Registered for FriendlySam<V, R> {
    const ENTRY: &'static Entry = &Entry {
        name: "friendly-sam",
        title: "Friendly-SAM",
        doc: "SAM along the noise of the batch's gradient: what it has beyond the running mean of gradients.",
        equation: "d = ∇L̂ − σ·m,  m ← λ·m + (1 − λ)·∇L̂,  h = ∇L̂(θ + ρ·d/‖d‖)",
        keys: &[
            keys::rho(0.05),
            Key::number("sigma", Interval::NOT_NEGATIVE, 1.0, "strength σ of the subtraction"),
            Key::number("lambda", Interval::RATE, 0.9, "decay λ of the mean of gradients"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 1, outputs: false },
        reference: "Li et al., \"Friendly Sharpness-Aware Minimization\", CVPR 2024",
        resolve: None,
    };
}

impl<V> Built for FriendlySam<V, Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("sigma")?, values.number("lambda")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for FriendlySam<O::Vector, R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let grad = &cx.here.grad;
        let mut noise = grad.clone();
        let mean = match self.mean.take() {
            Some(mut mean) => {
                same_dim("friendly-sam", mean.dim(), grad.dim())?;
                noise.axpy(-self.sigma, &mean)?;
                mean.scale(self.lambda)?;
                mean.axpy(1.0 - self.lambda, grad)?;
                mean
            }
            None => grad.clone(),
        };
        let slope = cx.slope_along(&noise, XI)?;
        let there = cx.gradient_along(rho, &noise, XI)?;
        let added_norm = cx.replace_gradient(there)?;
        self.mean.set(mean);
        cx.learnt("friendly-sam", rho * slope, added_norm);
        Ok(())
    }

    fn end_step(&mut self, ending: Ending) {
        self.mean.end_step(ending);
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        self.mean.save("mean", sink)
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        self.mean.load("mean", source)
    }
}
