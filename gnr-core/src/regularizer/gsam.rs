//! GSAM: SAM that also descends along the surrogate gap, the loss at the perturbed point minus the loss at θ.

use super::{
    Ahead, Built, Needs, Radius, Regularizer, Run, StepContext,
    context::{XI, share},
    keys,
};
use crate::{
    GradOracle, Result, Schedule, Vector,
    registry::{Cost, Domain, Entry, Interval, Key, Registered, Values},
    schedule::{Proportional, validate_constant},
};

/// GSAM, surrogate-gap guided sharpness-aware minimisation: SAM's gradient g_p = ∇L̂(θ + ρ·∇L̂/(‖∇L̂‖ + ξ)), minus α
/// times the part of ∇L̂(θ) that is orthogonal to g_p. To first order that part lowers the gap L̂(θ + …) − L̂(θ) and
/// keeps the loss at the perturbed point.
///
/// > g_⊥ = ∇L̂ − (⟨∇L̂, g_p⟩/‖g_p‖²)·g_p,  h = g_p − α·g_⊥
///
/// The radius follows the learning rate: ρ_t = ρ_min + (ρ − ρ_min)·η_t/η₀.
///
/// Defaults: ρ = 0.04, ρ_min = ρ/2, α = 0.01 (ResNet-50 in Table 4 of the paper; its vision transformers have ρ = 0.6
/// and α from 0.4 to 1), ξ = 1e-12. State: none.
///
/// # Cost
/// One gradient and one vector on top of the base step.
///
/// # References
/// Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training", ICLR 2022, Algorithm 1.
///
/// # Deviation
/// The paper's rule for ρ_t also uses the smallest learning rate of the run, at which ρ_min is reached. Here it is
/// reached at η_t = 0. The option "adaptive ρ" of the paper is left out.
#[derive(Clone, Debug)]
pub struct Gsam<R = f64> {
    rho: R,
    alpha: f64,
}

impl Gsam {
    /// GSAM with constant radius ρ > 0 and coefficient α ≥ 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and α ≥ 0, both finite.
    pub fn new(rho: f64, alpha: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, alpha)
    }
}

impl<R> Gsam<R> {
    /// GSAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless α ≥ 0 and finite.
    pub fn scheduled(rho: R, alpha: f64) -> Result<Self> {
        validate_constant("alpha", alpha, |x| x >= 0.0, "the coefficient must not be negative")?;
        Ok(Self { rho, alpha })
    }
}

/// The schedule ρ_min + (ρ − ρ_min)·η_t/η₀ of the radius.
#[derive(Clone, Debug)]
struct Following<S> {
    least: f64,
    above: Proportional<S>,
}

impl<S: Schedule> Schedule for Following<S> {
    fn at(&self, t: u64) -> f64 {
        self.least + self.above.at(t)
    }
}

impl<R> Registered for Gsam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "gsam",
        title: "GSAM",
        doc: "SAM that also lowers the gap between the loss ahead and the loss here.",
        equation: "g_p = ∇L̂(θ + ρ·∇L̂/‖∇L̂‖),  h = g_p − α·(∇L̂ − (⟨∇L̂, g_p⟩/‖g_p‖²)·g_p)",
        keys: &[
            keys::rho(0.04),
            Key::absent(
                "rho_min",
                Domain::Number(Interval::NOT_NEGATIVE),
                "radius ρ_min at learning rate 0, at most ρ; ρ/2 unless given",
            ),
            Key::number("alpha", Interval::NOT_NEGATIVE, 0.01, "coefficient α of the orthogonal part"),
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Zhuang et al., \"Surrogate Gap Minimization Improves Sharpness-Aware Training\", ICLR 2022",
        resolve: Some(resolve),
    };
}

/// Fills ρ_min, which is ρ/2 unless given, and refuses one above ρ.
fn resolve(values: &mut Values) -> Result<()> {
    let rho = values.number("rho")?;
    if values.get("rho_min").is_none() {
        return values.set("rho_min", (rho / 2.0).into());
    }
    let least = values.number("rho_min")?;
    if least > rho {
        return Err(values.refusal(
            "rho_min",
            &format!("{least:?}"),
            format!("must be at most rho = {rho:?}"),
        ));
    }
    Ok(())
}

impl Built for Gsam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        let (rho, least) = (values.number("rho")?, values.number("rho_min")?);
        let rho: Radius = if least < rho {
            let above = Proportional::new((run.learning_rate)()?, run.peak, rho - least)?;
            Box::new(Following { least, above })
        } else {
            Box::new(rho)
        };
        Self::scheduled(rho, values.number("alpha")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Gsam<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(Ahead { radius: self.rho.at(t), xi: XI })
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let mut h = cx.ahead(Ahead { radius: rho, xi: XI })?; // g_p
        let parallel = share(&cx.here.grad, &h)?;
        // g_p − α·(∇L̂ − c·g_p) − ∇L̂
        h.scale(1.0 + self.alpha * parallel)?;
        h.axpy(-(1.0 + self.alpha), &cx.here.grad)?;
        let added_norm = cx.add_vector(1.0, h)?;
        cx.learnt("gsam", rho * cx.here.grad_norm, added_norm);
        Ok(())
    }
}
