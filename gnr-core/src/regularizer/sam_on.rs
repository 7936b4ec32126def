//! SAM-ON: SAM that perturbs the parameters of normalisation layers only.

use super::{Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    Error, GradOracle, Partition, Result, Schedule, Vector,
    registry::{Cost, Entry, Registered, Values},
    schedule::validate_constant,
};

/// SAM-ON: [`Sam`](super::Sam) whose perturbation changes only the scales and shifts of normalisation layers, typically
/// 0.1 % of the parameters. The gradient there is that of all parameters.
///
/// > h = ∇L̂(θ + ρ·m ⊙ ∇L̂(θ)/(‖m ⊙ ∇L̂(θ)‖ + ξ)), with m = 1 on the leaves of normalisation layers and 0 elsewhere.
///
/// Defaults: ρ = 0.5 (the published code's; larger than [`Sam`](super::Sam)'s, because the perturbation has few
/// entries), ξ = 1e-12. No state.
///
/// # Cost
/// One gradient and two vectors on top of the base step.
///
/// # References
/// Mueller et al., "Normalization Layers Are All That Sharpness-Aware Minimization Needs", NeurIPS 2023.
///
/// # Deviation
/// The published code has ξ = 1e-16.
#[derive(Clone, Debug)]
pub struct SamOn<R = f64> {
    rho: R,
    /// The mask m by leaf of θ: 1 for a leaf of a normalisation layer, else 0.
    group: Vec<usize>,
}

const XI: f64 = 1e-12;

impl SamOn {
    /// SAM-ON with constant radius ρ > 0. `normalisation` says for each leaf of θ whether the leaf belongs to a
    /// normalisation layer.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`]; [`Error::Setting`] when no leaf belongs to a normalisation layer.
    pub fn new(rho: f64, normalisation: &[bool]) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, normalisation)
    }
}

impl<R> SamOn<R> {
    /// SAM-ON whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::Setting`] when no leaf belongs to a normalisation layer.
    pub fn scheduled(rho: R, normalisation: &[bool]) -> Result<Self> {
        if !normalisation.contains(&true) {
            return Err(Error::Setting {
                method: Self::ENTRY.name,
                key: "normalisation layers".into(),
                found: format!("none in {} leaves", normalisation.len()),
                requirement: "perturbs only these, so that the model needs one; `sam` perturbs every leaf"
                    .into(),
            });
        }
        Ok(Self { rho, group: normalisation.iter().map(|&is| usize::from(is)).collect() })
    }
}

/// The product m ⊙ x with a number m, 0 or 1, for each leaf.
pub(super) fn masked<V: Partition>(x: &V, m: &[usize]) -> Result<V> {
    let mut masked = x.clone();
    let mut parts = masked.split(m, 2)?;
    parts.iter_mut().take(1).try_for_each(|others| others.scale(0.0))?;
    masked.join(m, parts)?;
    Ok(masked)
}

impl<R> Registered for SamOn<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "sam-on",
        title: "SAM-ON",
        doc: "SAM that perturbs the parameters of normalisation layers only; needs a model that has some.",
        equation: "h = ∇L̂(θ + ρ·m⊙∇L̂(θ)/‖m⊙∇L̂(θ)‖)  with m = 1 on normalisation layers, 0 elsewhere",
        keys: &[keys::rho(0.5), keys::RHO_SCHEDULE, keys::EVERY, keys::FROM_EPOCH, keys::BATCH_FRACTION],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Mueller et al., \"Normalization Layers Are All That Sharpness-Aware Minimization Needs\", NeurIPS 2023",
        resolve: None,
    };
}

impl Built for SamOn<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, run.normalisation)
    }
}

impl<O: GradOracle<Vector: Partition>, R: Schedule> Regularizer<O> for SamOn<R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let masked = masked(&cx.here.grad, &self.group)?;
        let there = cx.gradient_along(rho, &masked, XI)?;
        let added_norm = cx.replace_gradient(there)?;
        cx.learnt("sam-on", rho * masked.norm()?, added_norm);
        Ok(())
    }
}
