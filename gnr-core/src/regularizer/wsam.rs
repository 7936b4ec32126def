//! WSAM: SAM's sharpness as a regularisation term with a weight.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys};
use crate::{
    GradOracle, Result, Schedule,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// WSAM, weighted sharpness-aware minimisation: minimises L̂ plus w = γ/(1 − γ) times its sharpness max L̂ − L̂ in the
/// ball of radius ρ.
///
/// > h = ∇L̂(θ) + (γ/(1 − γ))·(∇L̂(θ + ρ·∇L̂/(‖∇L̂‖ + ξ)) − ∇L̂(θ))
///
/// γ = 0 is plain training, γ = 1/2 is [`Sam`](super::Sam), a larger γ weighs the sharpness more than SAM does.
///
/// Defaults: ρ = 0.05, γ = 0.9, those of the authors' code; ξ = 1e-12. State: none.
///
/// # Cost
/// One gradient and one vector on top of the base step.
///
/// # References
/// Yue et al., "Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term", KDD 2023.
///
/// # Deviation
/// The paper prefers a decoupled step: the optimiser follows ∇L̂, and w·η times the sharpness's gradient is subtracted
/// from θ beside it. A regulariser changes the direction of the optimiser, so this is the coupled form
/// (`decouple=False` of the authors' code). With plain SGD both make equal steps.
#[derive(Clone, Debug)]
pub struct Wsam<R = f64> {
    rho: R,
    gamma: f64,
}

impl Wsam {
    /// WSAM with constant radius ρ > 0 and γ in [0, 1).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and γ lies in [0, 1).
    pub fn new(rho: f64, gamma: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, gamma)
    }
}

impl<R> Wsam<R> {
    /// WSAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless γ lies in [0, 1).
    pub fn scheduled(rho: R, gamma: f64) -> Result<Self> {
        validate_constant("gamma", gamma, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        Ok(Self { rho, gamma })
    }
}

impl<R> Registered for Wsam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "wsam",
        title: "WSAM",
        doc: "The loss plus SAM's sharpness with a weight of its own.",
        equation: "h = ∇L̂(θ) + (γ/(1 − γ))·(∇L̂(θ + ρ·∇L̂/‖∇L̂‖) − ∇L̂(θ))",
        keys: &[
            keys::rho(0.05),
            Key::number("gamma", Interval::RATE, 0.9, "γ: the sharpness has the weight γ/(1 − γ)"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Yue et al., \"Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term\", KDD 2023",
        resolve: None,
    };
}

impl Built for Wsam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("gamma")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Wsam<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(Ahead { radius: self.rho.at(t), xi: XI })
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let there = cx.ahead(Ahead { radius: rho, xi: XI })?;
        let added_norm = cx.add_difference(self.gamma / (1.0 - self.gamma), there)?;
        // The sharpness is ρ‖∇L̂‖ to first order.
        cx.learnt("wsam", rho * cx.here.grad_norm, added_norm);
        Ok(())
    }
}
