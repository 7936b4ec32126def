//! CR-SAM: SAM with a penalty on the curvature along the gradient.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    GradOracle, Result, Schedule, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// CR-SAM, curvature regularised SAM: looks ρ ahead and ρ behind along the gradient. The second difference of the loss
/// measures the curvature, the first difference the slope.
///
/// > g± = ∇L̂(θ ± ρ·g₀/(‖g₀‖ + ξ)),  h = g₊ + γ·(g₊ + g₋ − 2·g₀) + β·(g₊ − g₋), with g₀ = ∇L̂(θ).
///
/// With L± = L̂(θ ± ρĝ) and ĝ held fixed, h is the gradient of L₊ + γ·(L₊ + L₋ − 2L̂) + β·(L₊ − L₋), to leading order
/// L₊ + γρ²·ĝᵀ∇²L̂·ĝ + 2βρ·‖∇L̂‖.
///
/// Defaults: ρ = 0.1, γ = 0.1, β = 0.01 (the published code's), ξ = 1e-12. No state.
///
/// # Cost
/// Two gradients and two vectors on top of the base step.
///
/// # References
/// Wu et al., "CR-SAM: Curvature Regularized Sharpness-Aware Minimization", AAAI 2024; the rule is that of the authors'
/// code.
///
/// # Deviation
/// The paper derives its regulariser from a normalised trace of the Hessian, estimated by finite differences. The
/// authors' code, which is followed here, adds the two differences with constant coefficients and normalises nothing.
/// The code's evaluation behind θ moves running statistics; here only the evaluation at θ does.
#[derive(Clone, Debug)]
pub struct CrSam<R = f64> {
    rho: R,
    gamma: f64,
    beta: f64,
}

const XI: f64 = 1e-12;

impl CrSam {
    /// CR-SAM with constant radius ρ > 0 and coefficients γ ≥ 0 of the curvature, β ≥ 0 of the slope.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, gamma: f64, beta: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, gamma, beta)
    }
}

impl<R> CrSam<R> {
    /// CR-SAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a coefficient that is negative or not
    /// finite.
    pub fn scheduled(rho: R, gamma: f64, beta: f64) -> Result<Self> {
        validate_constant("gamma", gamma, |x| x >= 0.0, "the coefficient must not be negative")?;
        validate_constant("beta", beta, |x| x >= 0.0, "the coefficient must not be negative")?;
        Ok(Self { rho, gamma, beta })
    }
}

impl<R: Schedule> CrSam<R> {
    /// The points at distance ρ ahead of θ and behind it.
    fn both(&self, t: u64) -> [Ahead; 2] {
        let radius = self.rho.at(t);
        [radius, -radius].map(|radius| Ahead { radius, xi: XI })
    }
}

impl<R> Registered for CrSam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "cr-sam",
        title: "CR-SAM",
        doc: "SAM that also lowers the curvature along the gradient, by differences of gradients ahead and behind.",
        equation: "g± = ∇L̂(θ ± ρ·g₀/‖g₀‖),  h = g₊ + γ·(g₊ + g₋ − 2g₀) + β·(g₊ − g₋)  with g₀ = ∇L̂(θ)",
        keys: &[
            keys::rho(0.1),
            Key::number("gamma", Interval::NOT_NEGATIVE, 0.1, "coefficient γ of the curvature"),
            Key::number("beta", Interval::NOT_NEGATIVE, 0.01, "coefficient β of the slope"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 2.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Wu et al., \"CR-SAM: Curvature Regularized Sharpness-Aware Minimization\", AAAI 2024",
        resolve: None,
    };
}

impl Built for CrSam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("gamma")?, values.number("beta")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for CrSam<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs { ahead: self.both(t).to_vec(), ..Needs::NONE }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let (gamma, beta) = (self.gamma, self.beta);
        let [ahead, behind] = self.both(cx.t);
        let (mut h, minus) = (cx.ahead(ahead)?, cx.ahead(behind)?);
        h.scale(1.0 + gamma + beta)?;
        h.axpys(&[gamma - beta, -2.0 * gamma], &[&minus, &cx.here.grad])?;
        let added_norm = cx.replace_gradient(h)?;
        // To first order in ρ the curvature's share vanishes: L₊ − L̂ and β·(L₊ − L₋) are left.
        cx.learnt("cr-sam", self.rho.at(cx.t) * (1.0 + 2.0 * beta) * cx.here.grad_norm, added_norm);
        Ok(())
    }
}
