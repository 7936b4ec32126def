//! C-Flat: zeroth- and first-order flatness together.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    GradOracle, Result, Schedule, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// C-Flat, continual flatness: [`Sam`](super::Sam)'s gradient plus λ times the gradient of the largest gradient norm in
/// a ball. The method was made for learning one task after another.
///
/// > g₁ = ∇L̂(θ + ρ·g₀/(‖g₀‖ + ξ)),  θ₂ = θ + ρ·(g₁ − g₀)/(‖g₁ − g₀‖ + ξ),
/// > g₂ = ∇L̂(θ₂),  g₃ = ∇L̂(θ₂ + ρ·g₂/(‖g₂‖ + ξ)),  h = g₁ + λ·(g₃ − g₂), with g₀ = ∇L̂(θ).
///
/// C-Flat equals [`Sam`](super::Sam) of radius ρ and [`Gnr`](super::Gnr) of radius ρ and coefficient λ whose products
/// are forward differences of step ρ.
///
/// Defaults: ρ = 0.2, λ = 0.2 (the published code's), ξ = 1e-12. No state.
///
/// # Cost
/// Three gradients and four vectors on top of the base step.
///
/// # References
/// Bian et al., "Make Continual Learning Stronger via C-Flat", NeurIPS 2024; the rule is that of the authors' code.
#[derive(Clone, Debug)]
pub struct CFlat<R = f64> {
    rho: R,
    lambda: f64,
}

const XI: f64 = 1e-12;

impl CFlat {
    /// C-Flat with constant radius ρ > 0 and coefficient λ ≥ 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and λ ≥ 0, both finite.
    pub fn new(rho: f64, lambda: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, lambda)
    }
}

impl<R> CFlat<R> {
    /// C-Flat whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless λ ≥ 0 and finite.
    pub fn scheduled(rho: R, lambda: f64) -> Result<Self> {
        validate_constant("lambda", lambda, |x| x >= 0.0, "the coefficient must not be negative")?;
        Ok(Self { rho, lambda })
    }
}

impl<R: Schedule> CFlat<R> {
    fn ahead(&self, t: u64) -> Ahead {
        Ahead { radius: self.rho.at(t), xi: XI }
    }
}

impl<R> Registered for CFlat<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "c-flat",
        title: "C-Flat",
        doc: "Continual flatness: SAM and the largest gradient norm in a ball together, for learning one task after another.",
        equation: "g₁ = ∇L̂(θ + ρ·g₀/‖g₀‖),  θ₂ = θ + ρ·(g₁ − g₀)/‖g₁ − g₀‖,  g₂ = ∇L̂(θ₂),  g₃ = ∇L̂(θ₂ + ρ·g₂/‖g₂‖),  \
                   h = g₁ + λ·(g₃ − g₂)",
        keys: &[
            keys::rho(0.2),
            Key::number("lambda", Interval::NOT_NEGATIVE, 0.2, "coefficient λ of the gradient norm's share"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 3.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Bian et al., \"Make Continual Learning Stronger via C-Flat\", NeurIPS 2024",
        resolve: None,
    };
}

impl Built for CFlat<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("lambda")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for CFlat<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(self.ahead(t))
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let [mut h, g2, g3] = cx.norm_ascent(rho, self.ahead(cx.t))?;
        h.axpys(&[self.lambda, -self.lambda], &[&g3, &g2])?;
        let added_norm = cx.replace_gradient(h)?;
        // To first order: ρ‖∇L̂‖ at θ for the loss, at θ₂ for the gradient norm.
        cx.learnt("c-flat", rho * (cx.here.grad_norm + self.lambda * g2.norm()?), added_norm);
        Ok(())
    }
}
