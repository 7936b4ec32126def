//! Adai: adaptive momentum instead of an adaptive step size.

use super::{
    Optimizer, keys,
    state::{State, average_square, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Adai (adaptive inertia): coordinates with large gradients have little momentum, those with small gradients much.
///
/// With direction h and weight decay λ, d = h + λθ, and v̄ the mean of the elements of v̂:
///
/// > v ← β₂v + (1−β₂)d²,  v̂ = v/(1−β₂ᵗ),  β₁ = clip(1 − β₀·v̂/v̄, 0, 1−ε),  Π ← Π·β₁,
/// > m ← β₁m + (1−β₁)d,  θ ← θ − η·m/(1−Π),
///
/// where β₁ and Π are vectors. The learning rate is that of SGD without momentum, ten times that of SGD with momentum
/// 0.9. Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`,
/// `beta1_prod`.
///
/// # Cost
/// Three extra vectors, three temporary ones, and one more when λ > 0.
///
/// # Deviation
/// In parameter groups ([`Grouped`](super::Grouped)) v̄ is the mean of each group, not of all parameters.
///
/// # References
/// Xie et al., "Adaptive Inertia: Disentangling the Effects of Adaptive Learning Rate and Momentum", ICML 2022,
/// Algorithm 2.
#[derive(Clone, Debug)]
pub struct Adai<V> {
    beta0: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    state: State<V, 3>,
}

impl<V> Registered for Adai<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "adai",
        title: "Adai",
        doc: "Adaptive inertia: SGD whose momentum, not its step size, is chosen for each coordinate; made to find flat minima.",
        equation: "v ← β₂v + (1−β₂)d²,  β₁ = clip(1 − β₀·v/mean(v), 0, 1−ε),  Π ← Π·β₁,  m ← β₁m + (1−β₁)d,  θ ← θ − η·m/(1−Π)",
        keys: &[
            keys::lr(1.0),
            Key::number("beta0", Interval::POSITIVE, 0.1, "inertia factor β₀: the larger, the less momentum"),
            Key::number("beta2", Interval::RATE, 0.99, "decay rate β₂ of the second moment"),
            Key::number("eps", Interval::FRACTION, 1e-3, "inertia bound ε: no momentum is above 1 − ε"),
            keys::coupled_decay(5e-4),
        ],
        cost: Cost::state(3),
        reference: "Xie et al., \"Adaptive Inertia: Disentangling the Effects of Adaptive Learning Rate and Momentum\", ICML 2022, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for Adai<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            beta0: values.number("beta0")?,
            beta2: values.number("beta2")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq", "beta1_prod"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Adai<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("adai step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [m, v, product]) = self.state.begin(direction)?;
        if t == 1 {
            product.map(Map::Add(1.0))?;
        }
        average_square(v, self.beta2, &d)?;
        // β₁ is computed from v in place of v̂: the bias of v and of its mean is one factor, which cancels.
        let mut ones = v.clone();
        ones.scale(0.0)?;
        ones.map(Map::Add(1.0))?;
        let mean = v.dot(&ones)? / v.dim().max(1) as f64;
        let mut beta1 = v.clone();
        // While all gradients have been zero, every coordinate has all the momentum.
        beta1.scale(if mean > 0.0 { -self.beta0 / mean } else { 0.0 })?;
        beta1.map(Map::Add(1.0))?;
        beta1.map(Map::Clamp(0.0, 1.0 - self.eps))?;
        product.multiply(&beta1)?;
        m.multiply(&beta1)?;
        ones.axpy(-1.0, &beta1)?;
        m.addcmul(1.0, &ones, &d)?;
        // The correction 1/(1 − Π).
        let mut correction = product.clone();
        correction.scale(-1.0)?;
        correction.map(Map::Add(1.0))?;
        correction.map(Map::Recip)?;
        theta.addcmul(-lr, &correction, m)
    }
}

checkpoint_of_state!(Adai);
