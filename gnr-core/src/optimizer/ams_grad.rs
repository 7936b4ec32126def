//! AMSGrad: Adam whose denominator never falls.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// AMSGrad, as in PyTorch's `torch.optim.Adam(amsgrad=True)`.
///
/// With direction h and weight decay λ, d = h + λθ:
///
/// > m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  v̂ ← max(v̂, v),  θ ← θ − η·(m/(1−β₁ᵗ))/(√(v̂/(1−β₂ᵗ)) + ε).
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`, `max_exp_avg_sq`.
///
/// # Cost
/// Three extra vectors, and a temporary one when λ > 0.
///
/// # Deviation
/// Algorithm 2 of the paper does not correct the bias of the moments. PyTorch does, and so does this type.
///
/// # References
/// Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond", ICLR 2018, Algorithm 2.
#[derive(Clone, Debug)]
pub struct AmsGrad<V> {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    state: State<V, 3>,
}

impl<V> Registered for AmsGrad<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "amsgrad",
        title: "AMSGrad",
        doc: "Adam with the largest second moment so far in the denominator, so that no step size grows again; as PyTorch has it.",
        equation: "d = h + λθ,  m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  v̂ ← max(v̂, v),  θ ← θ − η·(m/(1−β₁ᵗ))/(√(v̂/(1−β₂ᵗ)) + ε)",
        keys: &[keys::lr(1e-3), keys::betas(&[0.9, 0.999]), keys::eps(1e-8), keys::coupled_decay(0.0)],
        cost: Cost::state(3),
        reference: "Reddi, Kale and Kumar, \"On the Convergence of Adam and Beyond\", ICLR 2018, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for AmsGrad<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for AmsGrad<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("amsgrad step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [m, v, largest]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, &d)?;
        average_square(v, beta2, &d)?;
        largest.maximum(v)?;
        let t = t as f64;
        theta.addcdiv_sqrt(-lr / (1.0 - beta1.powf(t)), m, 1.0 / (1.0 - beta2.powf(t)), largest, self.eps)
    }
}

checkpoint_of_state!(AmsGrad);
