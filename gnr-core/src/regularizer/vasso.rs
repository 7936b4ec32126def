//! VaSSO: SAM along a running mean of gradients.

use super::{Built, Ending, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys, memory::Memory};
use crate::{
    GradOracle, Result, Schedule, StateSink, StateSource, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// VaSSO, variance-suppressed sharpness-aware optimisation: SAM that perturbs along a running mean of the batches'
/// gradients, which varies less from batch to batch than ∇L̂.
///
/// > d ← (1 − θ)·d + θ·∇L̂,  h = ∇L̂(θ_t + ρ·d/(‖d‖ + ξ)); d = ∇L̂ in the first step.
///
/// Defaults: ρ = 0.05 and θ = 0.9, those of the authors' code; ξ = 1e-12 (there 1e-7). State: `mean`. On steps without
/// the regulariser d stays. In a step over groups d moves once for each group.
///
/// # Cost
/// One gradient and three vectors on top of the base step, one of them kept.
///
/// # References
/// Li and Giannakis, "Enhancing Sharpness-Aware Optimization Through Variance Suppression", NeurIPS 2023, Algorithm 1.
#[derive(Clone, Debug)]
pub struct Vasso<V, R = f64> {
    rho: R,
    theta: f64,
    mean: Memory<V>,
}

impl<V> Vasso<V> {
    /// VaSSO with constant radius ρ > 0 and averaging rate θ in (0, 1].
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and θ lies in (0, 1].
    pub fn new(rho: f64, theta: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, theta)
    }
}

impl<V, R> Vasso<V, R> {
    /// VaSSO whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless θ lies in (0, 1].
    pub fn scheduled(rho: R, theta: f64) -> Result<Self> {
        validate_constant("theta", theta, |x| x > 0.0 && x <= 1.0, "must lie in (0, 1]")?;
        Ok(Self { rho, theta, mean: Memory::new() })
    }
}

impl<V, R> Registered for Vasso<V, R> {
    const ENTRY: &'static Entry = &Entry {
        name: "vasso",
        title: "VaSSO",
        doc: "SAM along a running mean of gradients, which varies less from batch to batch.",
        equation: "d ← (1 − θ)d + θ∇L̂,  h = ∇L̂(θ + ρ·d/‖d‖)",
        keys: &[
            keys::rho(0.05),
            Key::number("theta", Interval::FRACTION, 0.9, "share θ of the step's own gradient in the mean"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 1, outputs: false },
        reference: "Li and Giannakis, \"Enhancing Sharpness-Aware Optimization Through Variance Suppression\", NeurIPS 2023",
        resolve: None,
    };
}

impl<V> Built for Vasso<V, Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("theta")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Vasso<O::Vector, R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let mean = match self.mean.take() {
            Some(mut mean) => {
                same_dim("vasso", mean.dim(), cx.here.grad.dim())?;
                mean.scale(1.0 - self.theta)?;
                mean.axpy(self.theta, &cx.here.grad)?;
                mean
            }
            None => cx.here.grad.clone(),
        };
        let slope = cx.slope_along(&mean, XI)?;
        let there = cx.gradient_along(rho, &mean, XI)?;
        let added_norm = cx.replace_gradient(there)?;
        self.mean.set(mean);
        cx.learnt("vasso", rho * slope, added_norm);
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
