//! PGN: a penalty on the gradient's norm, by a difference of gradients.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys};
use crate::{
    GradOracle, Result, Schedule,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// PGN: the penalty λ·‖∇L̂(θ)‖ with λ = α·ρ. Its gradient λ·∇²L̂·∇L̂/‖∇L̂‖ is taken by a difference at distance ρ (r in
/// the paper).
///
/// > h = (1 − α)·∇L̂(θ) + α·∇L̂(θ + ρ·∇L̂/(‖∇L̂‖ + ξ))
///
/// With α = 1 PGN is [`Sam`](super::Sam). [`Gnr`](super::Gnr) penalises the largest gradient norm of a ball, PGN the
/// norm at θ itself.
///
/// Defaults: ρ = 0.1, α = 0.8, those of the authors' recipes for CIFAR; ξ = 1e-12. State: none.
///
/// # Cost
/// One gradient and one vector on top of the base step.
///
/// # References
/// Zhao, Zhang and Hu, "Penalizing Gradient Norm for Efficiently Improving Generalization in Deep Learning", ICML 2022.
///
/// # Deviation
/// None from the paper. The authors' code has a switch, on by default, that puts ∇L̂/‖∇L̂‖ in place of ∇L̂(θ) in h. The
/// switch is left out.
#[derive(Clone, Debug)]
pub struct Pgn<R = f64> {
    rho: R,
    alpha: f64,
}

impl Pgn {
    /// PGN with constant radius ρ > 0 and balance α ≥ 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and α ≥ 0, both finite.
    pub fn new(rho: f64, alpha: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, alpha)
    }
}

impl<R> Pgn<R> {
    /// PGN whose radius follows a schedule; α is constant, so λ = α·ρ follows, too.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless α ≥ 0 and finite.
    pub fn scheduled(rho: R, alpha: f64) -> Result<Self> {
        validate_constant("alpha", alpha, |x| x >= 0.0, "the balance must not be negative")?;
        Ok(Self { rho, alpha })
    }
}

impl<R> Registered for Pgn<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "pgn",
        title: "PGN",
        doc: "The loss plus a penalty on the norm of its gradient, which is taken by a difference of gradients.",
        equation: "h = (1 − α)·∇L̂(θ) + α·∇L̂(θ + ρ·∇L̂/‖∇L̂‖),  the gradient of L̂ + αρ·‖∇L̂‖ to first order",
        keys: &[
            keys::rho(0.1),
            Key::number("alpha", Interval::NOT_NEGATIVE, 0.8, "balance α: the penalty's coefficient is α·ρ"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Zhao, Zhang and Hu, \"Penalizing Gradient Norm for Efficiently Improving Generalization in Deep Learning\", ICML 2022",
        resolve: None,
    };
}

impl Built for Pgn<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("alpha")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Pgn<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(Ahead { radius: self.rho.at(t), xi: XI })
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let there = cx.ahead(Ahead { radius: self.rho.at(cx.t), xi: XI })?;
        let added_norm = cx.add_difference(self.alpha, there)?;
        // R = ‖∇L̂(θ)‖, whose coefficient is α·ρ.
        cx.learnt("pgn", cx.here.grad_norm, added_norm);
        Ok(())
    }
}
