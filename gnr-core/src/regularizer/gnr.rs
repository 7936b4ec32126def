//! GNR, the gradient norm regulariser: Algorithm 1 of the paper.

use super::{Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    HvpOracle, NormGradient, Result, Schedule,
    registry::{Cost, Domain, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// The gradient norm regulariser, α·R(θ) with R(θ) = ρ·max_{θ'∈B(θ,ρ)} ‖∇L̂(θ')‖ (Eq. 1), by Algorithm 1.
///
/// | line | here |
/// |---|---|
/// | 6 | f = H(θ)·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ) |
/// | 7 | θ_adv = θ + ρ·f/(‖f‖ + ξ) |
/// | 8 | h = ρ·H(θ_adv)·∇L̂(θ_adv)/(‖∇L̂(θ_adv)‖ + ξ) |
/// | 9 | direction += α·h |
///
/// The oracle decides whether H·v is exact or a finite difference: for differences wrap it in
/// [`ForwardDiff`](crate::ForwardDiff) or [`CentralDiff`](crate::CentralDiff).
///
/// # Cost
/// One gradient and two Hessian-vector products on top of the base step, and two vectors beside those of an evaluation.
/// Exact products come to about 6 gradients a step in all on the CPU backend, one-sided differences to 4.
///
/// # References
/// "Gradient Norm Regularizer Seeks Flat Minima and Improves Generalization", Algorithm 1, Eqs. 1, 5, 6.
///
/// # Deviation
/// The paper's appendix multiplies h by ρ twice; Algorithm 1 (once) is followed.
#[derive(Clone, Debug)]
pub struct Gnr<R = f64, A = f64> {
    rho: R,
    alpha: A,
    xi: f64,
}

impl Gnr {
    /// GNR with constant radius ρ > 0 and coefficient α ≥ 0; ξ = 1e-12. The paper uses ρ = α = 0.1 on CIFAR.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and α ≥ 0, both finite.
    pub fn new(rho: f64, alpha: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        validate_constant("alpha", alpha, |x| x >= 0.0, "the coefficient must not be negative")?;
        Ok(Self::scheduled(rho, alpha))
    }
}

impl<R: Schedule, A: Schedule> Gnr<R, A> {
    /// GNR whose radius and coefficient follow schedules (Theorem 2.3: ρ_t = ρ₀/√t).
    pub fn scheduled(rho: R, alpha: A) -> Self {
        Self { rho, alpha, xi: 1e-12 }
    }

    /// Sets the small constant ξ that keeps divisions by a norm finite; default 1e-12.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ξ > 0 and finite.
    pub fn with_xi(mut self, xi: f64) -> Result<Self> {
        validate_constant("xi", xi, |x| x > 0.0, "must be positive and finite")?;
        self.xi = xi;
        Ok(self)
    }
}

impl<R, A> Registered for Gnr<R, A> {
    const ENTRY: &'static Entry = &Entry {
        name: "gnr",
        title: "GNR",
        doc: "The gradient norm regulariser: descends along the loss plus α times the largest gradient norm in a ball, times its radius.",
        equation: "f = ∇‖∇L̂(θ)‖,  θ_adv = θ + ρ·f/‖f‖,  h = ∇L̂(θ) + α·ρ·∇‖∇L̂(θ_adv)‖  with ∇‖∇L̂‖ = ∇²L̂·∇L̂/‖∇L̂‖",
        keys: &[
            keys::rho(0.1),
            Key::number("alpha", Interval::NOT_NEGATIVE, 0.1, "coefficient α"),
            Key::number("xi", Interval::POSITIVE, 1e-12, "constant ξ beside norms that divide"),
            Key::choice(
                "hvp",
                &["exact", "gauss-newton", "forward-difference", "central-difference"],
                "exact",
                "how Hessian-vector products are made",
            ),
            Key::absent(
                "step",
                Domain::Number(Interval::POSITIVE),
                "norm ε of the perturbation of a difference; 1e-3 (forward), 1e-2 (central) unless given",
            ),
            keys::EVERY,
            keys::BATCH_FRACTION,
            keys::RHO_SCHEDULE,
            keys::FROM_EPOCH,
        ],
        cost: Cost { gradients: 1.0, products: 2.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "\"Gradient Norm Regularizer Seeks Flat Minima and Improves Generalization\", Algorithm 1",
        resolve: Some(|values| {
            let default = match values.choice("hvp")? {
                "forward-difference" => Some(1e-3),
                "central-difference" => Some(1e-2),
                _ => None,
            };
            match (default, values.get("step")) {
                (Some(step), None) => values.set("step", step.into()),
                (None, Some(step)) => {
                    let requirement =
                        format!("only goes with a difference (hvp is {:?})", values.choice("hvp")?);
                    Err(values.refusal("step", &step.to_string(), requirement))
                }
                _ => Ok(()),
            }
        }),
    };
}

/// Makes the regulariser from its settings except for `hvp` and `step`, which belong to the construction of the oracle.
impl Built for Gnr<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("alpha")?).with_xi(values.number("xi")?)
    }
}

impl<O: HvpOracle, R: Schedule, A: Schedule> Regularizer<O> for Gnr<R, A> {
    fn needs(&self, _: u64, oracle: &O) -> Needs {
        Needs::norm_gradient(oracle, self.xi)
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let (rho, alpha, xi) = (self.rho.at(cx.t), self.alpha.at(cx.t), self.xi);
        let f = cx.norm_gradient(xi)?; // line 6
        let f_norm = f.norm()?;
        let adv = f.added_to(&cx.here.at, rho / (f_norm + xi))?; // line 7
        let h = NormGradient::at(cx.oracle, adv, xi)?; // line 8, but for its ρ
        let r = rho * h.grad_norm;
        let h_norm = cx.add(alpha * rho, h)?; // line 9, its α term
        cx.learnt("gnr", r, alpha * rho * h_norm);
        Ok(())
    }
}
