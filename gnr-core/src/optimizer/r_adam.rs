//! RAdam: Adam that leaves its denominator out until it is known well enough.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, shrink},
};
use crate::{
    Elementwise, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// RAdam, as in PyTorch's `torch.optim.RAdam` with decoupled weight decay.
///
/// With direction h, weight decay λ, ρ_∞ = 2/(1−β₂) − 1 and ρ_t = ρ_∞ − 2tβ₂ᵗ/(1−β₂ᵗ), the length of a simple average
/// that is as uncertain as v:
///
/// > θ ← (1 − ηλ)θ,  m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)h²,  m̂ = m/(1−β₁ᵗ),
/// > θ ← θ − η·r_t·m̂·√(1−β₂ᵗ)/(√v + ε) where ρ_t > 5, and θ ← θ − η·m̂ before,
/// > with r_t = √((ρ_t−4)(ρ_t−2)ρ_∞/((ρ_∞−4)(ρ_∞−2)ρ_t)).
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`.
///
/// # Cost
/// Two extra vectors.
///
/// # Deviation
/// Algorithm 2 of the paper corrects from ρ_t > 4 on. The authors' program and PyTorch wait for 5, because ρ_t is an
/// approximation, and so does this type. (The authors' program leaves the steps before out unless told otherwise; the
/// paper, PyTorch and this type make them.)
///
/// # References
/// Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020, Algorithm 2.
#[derive(Clone, Debug)]
pub struct RAdam<V> {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    state: State<V, 2>,
}

impl<V> Registered for RAdam<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "radam",
        title: "RAdam",
        doc: "Adam whose first steps go without the denominator, which is too uncertain then: a warm-up by itself; as `torch.optim.RAdam`.",
        equation: "m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)h²,  m̂ = m/(1−β₁ᵗ),  θ ← (1−ηλ)θ − η·(r_t·m̂·√(1−β₂ᵗ)/(√v + ε) if ρ_t > 5, else m̂)",
        keys: &[keys::lr(1e-3), keys::betas(&[0.9, 0.999]), keys::eps(1e-8), keys::decoupled_decay(0.0)],
        cost: Cost::state(2),
        reference: "Liu et al., \"On the Variance of the Adaptive Learning Rate and Beyond\", ICLR 2020, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for RAdam<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for RAdam<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("radam step", theta, direction)?;
        shrink(theta, lr, self.weight_decay)?;
        let (t, [m, v]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, direction)?;
        average_square(v, beta2, direction)?;
        let t = t as f64;
        let rate = lr / (1.0 - beta1.powf(t));
        let correction = 1.0 - beta2.powf(t);
        let longest = 2.0 / (1.0 - beta2) - 1.0;
        let length = longest - 2.0 * t * beta2.powf(t) / correction;
        if length > 5.0 {
            let certain = (length - 4.0) * (length - 2.0) * longest;
            let rectified = (certain / ((longest - 4.0) * (longest - 2.0) * length)).sqrt();
            theta.addcdiv_sqrt(-rate * rectified * correction.sqrt(), m, 1.0, v, self.eps)
        } else {
            theta.axpy(-rate, m)
        }
    }
}

checkpoint_of_state!(RAdam);
