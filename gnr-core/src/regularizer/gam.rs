//! GAM, gradient norm aware minimisation, from four gradients.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, context::share, keys};
use crate::{
    GradOracle, Result, Schedule, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// Accelerated GAM: the gradient norm regulariser without products, mixed with the gradients of which its differences
/// consist.
///
/// | line | here |
/// |---|---|
/// | 6, 7 | g₁ = ∇L̂(θ + ρ′·g₀/(‖g₀‖ + ξ)), g₀ = ∇L̂(θ) |
/// | 8, 9, 10 | g₂ = ∇L̂(θ₂), θ₂ = θ + ρ·(g₁ − g₀)/(‖g₁ − g₀‖ + ξ) |
/// | 11, 12 | g₃ = ∇L̂(θ₂ + ρ′·g₂/(‖g₂‖ + ξ)) |
/// | 13 | h₊ = α·g₁ + (1 − α)·g₃ |
/// | 14 | h₋ = β·g₀ + (1 − β)·g₂ |
/// | 15, 16 | h = h₊ − γ·h₋⊥, with h₋⊥ the part of h₋ that is orthogonal to h₊ |
///
/// (g₃ − g₂)/ρ′ is the ∇‖∇L̂(θ₂)‖ that [`Gnr`](super::Gnr) adds to ∇L̂. GAM keeps the part of −h₋ that does not shorten
/// the step along h₊.
///
/// Defaults: ρ = 0.2, ρ′ = 0.02, α = 0.6, β = 0.5, γ = 0.03 (the published code's for ResNets on CIFAR-100), ξ = 1e-12.
/// No state.
///
/// # Cost
/// Three gradients and four vectors on top of the base step.
///
/// # References
/// Zhang et al., "Gradient Norm Aware Minimization Seeks First-Order Flatness and Improves Generalization", CVPR 2023,
/// Algorithm 2 (Appendix D). Its Algorithm 1, with products, is [`Gnr`](super::Gnr)'s.
///
/// # Deviation
/// The published code drops the β of g₀ in line 14 (h₋ = g₀ + (1 − β)·g₂). Algorithm 2 is followed.
#[derive(Clone, Debug)]
pub struct Gam<R = f64> {
    rho: R,
    rho_prime: R,
    weights: GamWeights,
}

/// The coefficients of [`Gam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GamWeights {
    /// α in [0, 1]: the weight of g₁ beside g₃.
    pub alpha: f64,
    /// β in [0, 1]: the weight of g₀ beside g₂.
    pub beta: f64,
    /// γ ≥ 0: the multiple of h₋⊥ that is subtracted.
    pub gamma: f64,
}

const XI: f64 = 1e-12;
const WEIGHT: Interval = Interval { low: 0.0, low_open: false, high: 1.0, high_open: false };

impl Gam {
    /// GAM with constant radii ρ, ρ′ > 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, rho_prime: f64, weights: GamWeights) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        validate_constant("rho_prime", rho_prime, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, rho_prime, weights)
    }
}

impl<R> Gam<R> {
    /// GAM whose radii follow schedules.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a coefficient outside its interval.
    pub fn scheduled(rho: R, rho_prime: R, weights: GamWeights) -> Result<Self> {
        let GamWeights { alpha, beta, gamma } = weights;
        validate_constant("alpha", alpha, |x| WEIGHT.contains(x), "must lie in [0, 1]")?;
        validate_constant("beta", beta, |x| WEIGHT.contains(x), "must lie in [0, 1]")?;
        validate_constant("gamma", gamma, |x| x >= 0.0, "must be finite and not negative")?;
        Ok(Self { rho, rho_prime, weights })
    }
}

impl<R: Schedule> Gam<R> {
    fn ahead(&self, t: u64) -> Ahead {
        Ahead { radius: self.rho_prime.at(t), xi: XI }
    }
}

impl<R> Registered for Gam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "gam",
        title: "GAM",
        doc: "Gradient norm aware minimisation: lowers the largest gradient norm in a ball, by differences of gradients.",
        equation: "g₁ = ∇L̂(θ + ρ′·g₀/‖g₀‖),  θ₂ = θ + ρ·(g₁ − g₀)/‖g₁ − g₀‖,  g₂ = ∇L̂(θ₂),  g₃ = ∇L̂(θ₂ + ρ′·g₂/‖g₂‖),  \
                   h = h₊ − γ·h₋⊥  with h₊ = αg₁ + (1 − α)g₃,  h₋ = βg₀ + (1 − β)g₂",
        keys: &[
            keys::rho(0.2),
            Key::number(
                "rho_prime",
                Interval::POSITIVE,
                0.02,
                "radius ρ′ of the differences; follows rho_schedule as ρ does",
            ),
            Key::number("alpha", WEIGHT, 0.6, "weight α of g₁ beside g₃"),
            Key::number("beta", WEIGHT, 0.5, "weight β of g₀ beside g₂"),
            Key::number("gamma", Interval::NOT_NEGATIVE, 0.03, "coefficient γ of the orthogonal part"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 3.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Zhang et al., \"Gradient Norm Aware Minimization Seeks First-Order Flatness and Improves Generalization\", CVPR 2023, Algorithm 2",
        resolve: None,
    };
}

impl Built for Gam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        let weights = GamWeights {
            alpha: values.number("alpha")?,
            beta: values.number("beta")?,
            gamma: values.number("gamma")?,
        };
        Self::scheduled(run.radius(values)?, run.radius_of(values, "rho_prime")?, weights)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Gam<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(self.ahead(t))
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let (rho, GamWeights { alpha, beta, gamma }) = (self.rho.at(cx.t), self.weights);
        let [g1, g2, mut g3] = cx.norm_ascent(rho, self.ahead(cx.t))?; // lines 6 to 12
        let value = rho * g2.norm()?;
        g3.scale(1.0 - alpha)?;
        g3.axpy(alpha, &g1)?;
        let mut h_plus = g3; // line 13
        let mut h_minus = g2;
        h_minus.scale(1.0 - beta)?;
        h_minus.axpy(beta, &cx.here.grad)?; // line 14
        let parallel = share(&h_minus, &h_plus)?;
        h_plus.scale(1.0 + gamma * parallel)?; // lines 15 and 16: h₊ − γ·(h₋ − parallel·h₊)
        h_plus.axpy(-gamma, &h_minus)?;
        let added_norm = cx.replace_gradient(h_plus)?;
        cx.learnt("gam", value, added_norm);
        Ok(())
    }
}
