//! ASAM: SAM in a neighbourhood whose size is relative to the weights.

use super::{Built, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys};
use crate::{
    Elementwise, GradOracle, Map, Result, Schedule, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// ASAM, adaptive sharpness-aware minimisation: SAM in the ellipsoid ‖ε ⊘ T‖ ≤ ρ, with the scale T = |θ| + η of each
/// weight. With η = 0, rescaling weights in a way that keeps the loss also keeps the sharpness.
///
/// > h = ∇L̂(θ + ρ·T² ⊙ ∇L̂/(‖T ⊙ ∇L̂‖ + ξ)),  T = |θ| + η, element by element
///
/// Defaults: ρ = 0.5, η = 0.01, those of the authors' code; ξ = 1e-12 (there 1e-16). State: none.
///
/// # Cost
/// One gradient and three vectors on top of the base step.
///
/// # References
/// Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks",
/// ICML 2021.
///
/// # Deviation
/// Every element of θ is scaled. The authors' code leaves T = 1 for tensors whose name lacks `weight`, such as biases.
#[derive(Clone, Debug)]
pub struct Asam<R = f64> {
    rho: R,
    eta: f64,
}

impl Asam {
    /// ASAM with constant radius ρ > 0 and η ≥ 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and η ≥ 0, both finite.
    pub fn new(rho: f64, eta: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, eta)
    }
}

impl<R> Asam<R> {
    /// ASAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless η ≥ 0 and finite.
    pub fn scheduled(rho: R, eta: f64) -> Result<Self> {
        validate_constant("eta", eta, |x| x >= 0.0, "must not be negative")?;
        Ok(Self { rho, eta })
    }
}

impl<R> Registered for Asam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "asam",
        title: "ASAM",
        doc: "SAM in a neighbourhood that is measured relative to the size of each weight.",
        equation: "h = ∇L̂(θ + ρ·T² ⊙ ∇L̂/‖T ⊙ ∇L̂‖),  T = |θ| + η",
        keys: &[
            keys::rho(0.5),
            Key::number("eta", Interval::NOT_NEGATIVE, 0.01, "η beside the size of each weight"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Kwon et al., \"ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks\", ICML 2021",
        resolve: None,
    };
}

impl Built for Asam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("eta")?)
    }
}

impl<O: GradOracle<Vector: Elementwise>, R: Schedule> Regularizer<O> for Asam<R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let mut scale = cx.here.at.clone().into_owned(); // T
        scale.map(Map::Abs)?;
        scale.map(Map::Add(self.eta))?;
        let mut ascent = cx.here.grad.clone();
        ascent.multiply(&scale)?; // T ⊙ ∇L̂
        let norm = ascent.norm()?;
        ascent.multiply(&scale)?; // T² ⊙ ∇L̂
        let there = cx.gradient_moved(rho / (norm + XI), &ascent)?;
        let added_norm = cx.replace_gradient(there)?;
        // To first order, max L̂ over the ellipsoid minus L̂(θ) is ρ‖T ⊙ ∇L̂‖.
        cx.learnt("asam", rho * norm, added_norm);
        Ok(())
    }
}
