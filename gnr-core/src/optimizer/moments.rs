//! Common part of Adam and AdamW: running first and second moments, and the step along them.

use super::state::State;
use crate::{Elementwise, Result, StateSink, StateSource, Vector, schedule::validate_constant};

/// The settings β₁, β₂, ε and the state m, v, t of Adam and AdamW.
#[derive(Clone, Debug)]
pub(super) struct Moments<V> {
    beta1: f64,
    beta2: f64,
    eps: f64,
    state: State<V, 2>,
}

impl<V> Default for Moments<V> {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, state: State::new(["exp_avg", "exp_avg_sq"]) }
    }
}

impl<V> Moments<V> {
    pub(super) fn set_betas(&mut self, beta1: f64, beta2: f64) -> Result<()> {
        for (name, beta) in [("beta1", beta1), ("beta2", beta2)] {
            validate_constant(name, beta, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        }
        (self.beta1, self.beta2) = (beta1, beta2);
        Ok(())
    }

    pub(super) fn set_eps(&mut self, eps: f64) -> Result<()> {
        // Zero would give 0/0 for a parameter whose gradient vanishes.
        validate_constant("eps", eps, |x| x > 0.0, "must be positive")?;
        self.eps = eps;
        Ok(())
    }
}

impl<V: Vector> Moments<V> {
    /// Checks, before anything changes, that θ, direction and state have one dimension.
    pub(super) fn check(&self, operation: &'static str, theta: &V, direction: &V) -> Result<()> {
        self.state.check(operation, theta, direction)
    }
    pub(super) fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.state.save(sink)
    }
    pub(super) fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        self.state.load(source)
    }
}

impl<V: Elementwise> Moments<V> {
    /// Makes the step m ← β₁m + (1−β₁)d, v ← β₂v + (1−β₂)d², θ ← θ − η·m̂/(√v̂ + ε) with m̂ = m/(1−β₁ᵗ), v̂ =
    /// v/(1−β₂ᵗ).
    pub(super) fn step(&mut self, theta: &mut V, d: &V, lr: f64) -> Result<()> {
        let (t, [m, v]) = self.state.begin(d)?;
        m.scale(self.beta1)?;
        m.axpy(1.0 - self.beta1, d)?;
        v.scale(self.beta2)?;
        v.addcmul(1.0 - self.beta2, d, d)?;
        let t = t as f64;
        let (correction1, correction2) = (1.0 - self.beta1.powf(t), 1.0 - self.beta2.powf(t));
        theta.addcdiv_sqrt(-lr / correction1, m, 1.0 / correction2, v, self.eps)
    }
}
