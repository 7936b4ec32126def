//! LookSAM: SAM on every k-th step; the steps between reuse what SAM added to the gradient.

use super::{
    Ahead, Built, Ending, Needs, Radius, Regularizer, Run, StepContext,
    context::{XI, share},
    keys,
    memory::Memory,
};
use crate::{
    GradOracle, Result, Schedule, StateSink, StateSource, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// LookSAM: takes SAM's gradient g_s = ∇L̂(θ + ρ·∇L̂/(‖∇L̂‖ + ξ)) on every k-th step, and keeps its part g_v that is
/// orthogonal to ∇L̂. The other steps take ∇L̂ plus the kept part, scaled to α times the length of ∇L̂.
///
/// > t mod k = 0:  h = g_s,  g_v ← g_s − (⟨g_s, ∇L̂⟩/‖∇L̂‖²)·∇L̂
/// >
/// > otherwise:  h = ∇L̂ + α·(‖∇L̂‖/(‖g_v‖ + ξ))·g_v
///
/// The first step of the regulariser is of the first kind, whatever its number. In a step over groups each group looks
/// for itself, and the last one's g_v is kept for the steps in between. Defaults: ρ = 0.1, k = 5, α = 0.7, ξ =
/// 1e-12. State: `orthogonal`, g_v.
///
/// # Cost
/// 1/k gradients a step on top of the base step, and three vectors on the steps that compute one. One of the vectors is
/// kept.
///
/// # References
/// Liu et al., "Towards Efficient and Scalable Sharpness-Aware Minimization", CVPR 2022, Algorithm 1.
///
/// # Deviation
/// The layer-wise scaling of ρ (Look-LayerSAM) is left out. Norms and products are of the whole gradient, as in the
/// paper; some implementations take them tensor by tensor.
#[derive(Clone, Debug)]
pub struct LookSam<V, R = f64> {
    rho: R,
    k: u64,
    alpha: f64,
    orthogonal: Memory<V>,
}

impl<V> LookSam<V> {
    /// LookSAM with constant radius ρ > 0, period k ≥ 1 and coefficient α ≥ 0.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, k: u64, alpha: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, k, alpha)
    }
}

impl<V, R> LookSam<V, R> {
    /// LookSAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless k ≥ 1, and α ≥ 0 and finite.
    pub fn scheduled(rho: R, k: u64, alpha: f64) -> Result<Self> {
        validate_constant("k", k as f64, |x| x >= 1.0, "the period must be at least 1")?;
        validate_constant("alpha", alpha, |x| x >= 0.0, "the coefficient must not be negative")?;
        Ok(Self { rho, k, alpha, orthogonal: Memory::new() })
    }

    /// Whether the gradient ahead is computed in step `t`.
    fn looks(&self, t: u64) -> bool {
        // The kept part alone counts, so that all groups of a step look or none does.
        t.is_multiple_of(self.k) || self.orthogonal.kept().is_none()
    }
}

impl<V, R> Registered for LookSam<V, R> {
    const ENTRY: &'static Entry = &Entry {
        name: "looksam",
        title: "LookSAM",
        doc: "SAM on every k-th step; in between, the gradient plus what SAM last added across it.",
        equation: "t mod k = 0: h = g_s = ∇L̂(θ + ρ·∇L̂/‖∇L̂‖), g_v ← g_s − (⟨g_s, ∇L̂⟩/‖∇L̂‖²)·∇L̂;  otherwise h = ∇L̂ + α·(‖∇L̂‖/‖g_v‖)·g_v",
        keys: &[
            keys::rho(0.1),
            Key::integer("k", 1, 5, "steps k between two gradients ahead"),
            Key::number("alpha", Interval::NOT_NEGATIVE, 0.7, "coefficient α of the part that is reused"),
            keys::RHO_SCHEDULE,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 0.2, products: 0.0, forwards: 0.0, vectors: 1, outputs: false },
        reference: "Liu et al., \"Towards Efficient and Scalable Sharpness-Aware Minimization\", CVPR 2022",
        resolve: None,
    };
}

impl<V> Built for LookSam<V, Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.integer("k")?, values.number("alpha")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for LookSam<O::Vector, R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        if self.looks(t) { Needs::ahead(Ahead { radius: self.rho.at(t), xi: XI }) } else { Needs::NONE }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let (rho, grad_norm) = (self.rho.at(cx.t), cx.here.grad_norm);
        let added_norm = match self.orthogonal.get() {
            Some(orthogonal) if !self.looks(cx.t) => {
                same_dim("looksam", orthogonal.dim(), cx.here.grad.dim())?;
                let norm = orthogonal.norm()?;
                let factor = self.alpha * grad_norm / (norm + XI);
                cx.change.direction.axpy(factor, orthogonal)?;
                factor * norm
            }
            _ => {
                let there = cx.ahead(Ahead { radius: rho, xi: XI })?;
                let mut orthogonal = there.clone();
                orthogonal.axpy(-share(&there, &cx.here.grad)?, &cx.here.grad)?;
                let added_norm = cx.replace_gradient(there)?;
                self.orthogonal.set(orthogonal);
                added_norm
            }
        };
        cx.learnt("looksam", rho * grad_norm, added_norm);
        Ok(())
    }

    fn end_step(&mut self, ending: Ending) {
        self.orthogonal.end_step(ending);
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        self.orthogonal.save("orthogonal", sink)
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        self.orthogonal.load("orthogonal", source)
    }
}
