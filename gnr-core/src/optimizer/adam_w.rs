//! AdamW: Adam with decoupled weight decay.

use super::{Optimizer, keys, moments::Moments};
use crate::{
    Checkpoint, Elementwise, Result, StateSink, StateSource, Vector,
    registry::{Configured, Cost, Entry, Registered, Values},
    schedule::validate_constant,
};

/// AdamW, as in PyTorch's `torch.optim.AdamW`.
///
/// With direction h and weight decay λ:
///
/// > θ ← (1 − ηλ)θ,  m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)h²,  θ ← θ − η·(m/(1−β₁ᵗ))/(√(v/(1−β₂ᵗ)) + ε).
///
/// Defaults: β = (0.9, 0.999), ε = 1e-8, λ = 0.01. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`.
///
/// # Cost
/// Two extra vectors.
///
/// # References
/// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2.
#[derive(Clone, Debug)]
pub struct AdamW<V> {
    moments: Moments<V>,
    weight_decay: f64,
}

impl<V> Registered for AdamW<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "adamw",
        title: "AdamW",
        doc: "Adam with decoupled weight decay, as `torch.optim.AdamW`.",
        equation: "θ ← (1 − ηλ)θ,  m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)h²,  θ ← θ − η·(m/(1−β₁ᵗ))/(√(v/(1−β₂ᵗ)) + ε)",
        keys: &[keys::lr(1e-3), keys::betas(&[0.9, 0.999]), keys::eps(1e-8), keys::decoupled_decay(0.01)],
        cost: Cost::state(2),
        reference: "Loshchilov and Hutter, \"Decoupled Weight Decay Regularization\", ICLR 2019, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for AdamW<V> {
    fn configured(values: &Values) -> Result<Self> {
        let [beta1, beta2] = values.pair("betas")?;
        let adam = Self::new().with_betas(beta1, beta2)?.with_eps(values.number("eps")?)?;
        adam.with_weight_decay(values.number("weight_decay")?)
    }
}

impl<V> Default for AdamW<V> {
    fn default() -> Self {
        Self { moments: Moments::default(), weight_decay: 0.01 }
    }
}

impl<V> AdamW<V> {
    /// AdamW with the defaults β = (0.9, 0.999), ε = 1e-8, λ = 0.01.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the decay rates β₁, β₂ of the two moments; default (0.9, 0.999).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless both lie in [0, 1).
    pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Result<Self> {
        self.moments.set_betas(beta1, beta2)?;
        Ok(self)
    }

    /// Sets the constant ε beside the root; default 1e-8.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ε > 0 and finite.
    pub fn with_eps(mut self, eps: f64) -> Result<Self> {
        self.moments.set_eps(eps)?;
        Ok(self)
    }

    /// Sets the decoupled weight decay λ, which the learning rate multiplies; default 0.01.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless λ ≥ 0 and finite.
    pub fn with_weight_decay(mut self, lambda: f64) -> Result<Self> {
        validate_constant("weight_decay", lambda, |x| x >= 0.0, "must not be negative")?;
        self.weight_decay = lambda;
        Ok(self)
    }
}

impl<V: Elementwise> Optimizer<V> for AdamW<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.moments.check("adam_w step", theta, direction)?;
        if self.weight_decay > 0.0 {
            theta.scale(1.0 - lr * self.weight_decay)?;
        }
        self.moments.step(theta, direction, lr)
    }
}

impl<V: Vector> Checkpoint<V> for AdamW<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.moments.save(sink)
    }
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        self.moments.load(source)
    }
}
