//! SAM, sharpness-aware minimisation, as a regulariser.

use super::{Ahead, Built, Needs, Radius, Regularizer, Run, StepContext, keys};
use crate::{
    GradOracle, Result, Schedule,
    registry::{Cost, Entry, Registered, Values},
    schedule::validate_constant,
};

/// Sharpness-aware minimisation: descends along the gradient at θ + ρ·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ) instead of the one at θ.
///
/// As a regulariser it is `direction += ∇L̂(θ + ρ ĝ) − ∇L̂(θ)`, which combines with [`Gnr`](super::Gnr) as in the paper
/// ("SAM + GNR": the SAM loss is the base objective, h_loss = ∇L̂(θ + ρ ĝ)).
///
/// # Cost
/// One gradient and one vector on top of the base step.
///
/// # References
/// Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021; Eq. 10 of the
/// paper.
#[derive(Clone, Debug)]
pub struct Sam<R = f64> {
    rho: R,
    xi: f64,
}

impl Sam {
    /// SAM with constant radius ρ > 0; ξ = 1e-12. Foret et al. use 0.05 on CIFAR-10, 0.1 on CIFAR-100.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and finite.
    pub fn new(rho: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Ok(Self::scheduled(rho))
    }
}

impl<R: Schedule> Sam<R> {
    /// SAM whose radius follows a schedule.
    pub fn scheduled(rho: R) -> Self {
        Self { rho, xi: 1e-12 }
    }

    /// Sets the small constant ξ that keeps the division by the gradient's norm finite; default 1e-12.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ξ > 0 and finite.
    pub fn with_xi(mut self, xi: f64) -> Result<Self> {
        validate_constant("xi", xi, |x| x > 0.0, "must be positive and finite")?;
        self.xi = xi;
        Ok(self)
    }

    fn ahead(&self, t: u64) -> Ahead {
        Ahead { radius: self.rho.at(t), xi: self.xi }
    }
}

impl<R> Registered for Sam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "sam",
        title: "SAM",
        doc: "Sharpness-aware minimisation: descends along the gradient at the worst point of a ball, to first order.",
        equation: "h = ∇L̂(θ + ρ·∇L̂(θ)/‖∇L̂(θ)‖)",
        keys: &[keys::rho(0.05), keys::RHO_SCHEDULE, keys::EVERY, keys::FROM_EPOCH, keys::BATCH_FRACTION],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: false },
        reference: "Foret et al., \"Sharpness-Aware Minimization for Efficiently Improving Generalization\", ICLR 2021",
        resolve: None,
    };
}

impl Built for Sam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Ok(Self::scheduled(run.radius(values)?))
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Sam<R> {
    fn needs(&self, t: u64, _: &O) -> Needs {
        Needs::ahead(self.ahead(t))
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let there = cx.ahead(self.ahead(cx.t))?;
        let added_norm = cx.replace_gradient(there)?;
        // To first order, max L̂ over the ball minus L̂(θ) is ρ‖∇L̂(θ)‖.
        cx.learnt("sam", self.rho.at(cx.t) * cx.here.grad_norm, added_norm);
        Ok(())
    }
}
