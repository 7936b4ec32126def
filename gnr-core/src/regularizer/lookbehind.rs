//! Lookbehind-SAM: several ascent steps, one descent step.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    GradOracle, Result, Schedule, Vector,
    registry::{Cost, Domain, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// Lookbehind-SAM: climbs k times, adds up the gradients on the way, and takes α times their sum.
///
/// > φ₀ = θ,  φᵢ = φᵢ₋₁ + ρ·∇L̂(φᵢ₋₁)/(‖∇L̂(φᵢ₋₁)‖ + ξ),  gᵢ = ∇L̂(φᵢ) for i = 1 … k,  h = α·Σᵢ gᵢ.
///
/// If α is not given, α = (cos ∠(g₁, Σᵢ gᵢ) + 1)/2 is computed in each step. This adaptive α is smaller the
/// more the gradients turn on the way. With k = 1 it is 1, and the method is [`Sam`](super::Sam).
///
/// Defaults: ρ = 0.05, k = 2, α adaptive (the example of the published code), ξ = 1e-12. No state.
///
/// # Cost
/// k gradients and four vectors on top of the base step.
///
/// # References
/// Mordido et al., "Lookbehind-SAM: k steps back, 1 step forward", ICML 2024.
///
/// # Deviation
/// The paper takes k steps of its optimiser (fast weights), one along each gᵢ, and moves θ (slow weights) by α of
/// the way. For SGD without momentum and weight decay the formula above is equal to this. Other optimisers here take
/// one step along h.
///
/// The published code takes the cosine of each tensor separately; here the cosine is that of the whole vectors. The
/// code also evaluates each gᵢ twice, which changes running statistics only.
#[derive(Clone, Debug)]
pub struct Lookbehind<R = f64> {
    rho: R,
    k: u64,
    alpha: Option<f64>,
}

const XI: f64 = 1e-12;

impl Lookbehind {
    /// Lookbehind-SAM with constant radius ρ > 0, k ≥ 1 ascent steps and α in (0, 1] (`None`: adaptive).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, k: u64, alpha: Option<f64>) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, k, alpha)
    }
}

impl<R> Lookbehind<R> {
    /// Lookbehind-SAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for k = 0 and for α outside (0, 1].
    pub fn scheduled(rho: R, k: u64, alpha: Option<f64>) -> Result<Self> {
        validate_constant("k", k as f64, |x| x >= 1.0, "must be at least 1")?;
        if let Some(alpha) = alpha {
            validate_constant("alpha", alpha, |x| Interval::FRACTION.contains(x), "must lie in (0, 1]")?;
        }
        Ok(Self { rho, k, alpha })
    }
}

impl<R: Schedule> Lookbehind<R> {
    fn ahead(&self, t: u64) -> Ahead {
        Ahead { radius: self.rho.at(t), xi: XI }
    }
}

impl<R> Registered for Lookbehind<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "lookbehind-sam",
        title: "Lookbehind-SAM",
        doc: "SAM with several ascent steps, whose gradients are added up and scaled down where they disagree.",
        equation: "φ₀ = θ,  φᵢ = φᵢ₋₁ + ρ·∇L̂(φᵢ₋₁)/‖∇L̂(φᵢ₋₁)‖,  gᵢ = ∇L̂(φᵢ),  h = α·Σᵢ gᵢ (i = 1 … k)",
        keys: &[
            keys::rho(0.05),
            Key::integer("k", 1, 2, "number k of ascent steps"),
            Key::absent(
                "alpha",
                Domain::Number(Interval::FRACTION),
                "share α of the sum; (cos ∠(g₁, Σᵢ gᵢ) + 1)/2 unless given",
            ),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 2.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Mordido et al., \"Lookbehind-SAM: k steps back, 1 step forward\", ICML 2024",
        resolve: None,
    };
}

impl Built for Lookbehind<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        let alpha = values.get("alpha").map(|_| values.number("alpha")).transpose()?;
        Self::scheduled(run.radius(values)?, values.integer("k")?, alpha)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Lookbehind<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(self.ahead(t))
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let first = cx.ahead(self.ahead(cx.t))?;
        let mut phi = cx.here.at.clone().into_owned();
        phi.axpy(rho / (cx.here.grad_norm + XI), &cx.here.grad)?;
        let (mut sum, mut last) = (first.clone(), first.clone());
        // To first order each ascent step raises the loss by ρ times the norm of the gradient before the step.
        let mut value = rho * cx.here.grad_norm;
        for _ in 1..self.k {
            let norm = last.norm()?;
            value += rho * norm;
            phi.axpy(rho / (norm + XI), &last)?;
            last = cx.gradient(phi.clone())?;
            sum.axpy(1.0, &last)?;
        }
        let alpha = match self.alpha {
            Some(alpha) => alpha,
            None => {
                let norms = sum.norm()? * first.norm()?;
                let cosine = if norms > 0.0 { sum.dot(&first)? / norms } else { 0.0 };
                (cosine + 1.0) / 2.0
            }
        };
        sum.scale(alpha)?;
        let added_norm = cx.replace_gradient(sum)?;
        cx.learnt("lookbehind-sam", value, added_norm);
        Ok(())
    }
}
