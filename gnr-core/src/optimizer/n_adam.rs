//! NAdam: Adam with Nesterov's momentum.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// NAdam, as in PyTorch's `torch.optim.NAdam`.
///
/// With direction h, weight decay λ and momentum decay ψ, d = h + λθ, μ_t = β₁(1 − 0.96^{tψ}/2), Π_t = μ₁·…·μ_t:
///
/// > m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  θ ← θ − η·(μ_{t+1}m/(1−Π_{t+1}) + (1−μ_t)d/(1−Π_t))/(√(v/(1−β₂ᵗ)) + ε).
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`.
///
/// # Cost
/// Two extra vectors, and a temporary one when λ > 0. After a resume, t multiplications for Π_t.
///
/// # References
/// Dozat, "Incorporating Nesterov Momentum into Adam", ICLR 2016 workshop.
#[derive(Clone, Debug)]
pub struct NAdam<V> {
    betas: [f64; 2],
    eps: f64,
    psi: f64,
    weight_decay: f64,
    /// A step t and its Π_t; recomputed when steps do not follow each other, as after a resume.
    product: (u64, f64),
    state: State<V, 2>,
}

impl<V> Registered for NAdam<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "nadam",
        title: "NAdam",
        doc: "Adam that looks ahead along its momentum, which warms up by itself; as `torch.optim.NAdam`.",
        equation: "μ_t = β₁(1 − 0.96^{tψ}/2),  Π_t = Π μ_s,  m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  θ ← θ − η·(μ_{t+1}m/(1−Π_{t+1}) + (1−μ_t)d/(1−Π_t))/(√(v/(1−β₂ᵗ)) + ε)",
        keys: &[
            keys::lr(2e-3),
            keys::betas(&[0.9, 0.999]),
            keys::eps(1e-8),
            Key::number(
                "momentum_decay",
                Interval::NOT_NEGATIVE,
                4e-3,
                "momentum decay ψ: how fast the momentum warms up",
            ),
            keys::coupled_decay(0.0),
        ],
        cost: Cost::state(2),
        reference: "Dozat, \"Incorporating Nesterov Momentum into Adam\", ICLR 2016 workshop",
        resolve: None,
    };
}

impl<V> Configured for NAdam<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            psi: values.number("momentum_decay")?,
            weight_decay: values.number("weight_decay")?,
            product: (0, 1.0),
            state: State::new(["exp_avg", "exp_avg_sq"]),
        })
    }
}

impl<V> NAdam<V> {
    /// The momentum μ_t of step t.
    fn momentum(&self, t: u64) -> f64 {
        self.betas[0] * (1.0 - 0.5 * 0.96_f64.powf(t as f64 * self.psi))
    }

    /// The product Π_t. Its factors and their order do not depend on whether the run was resumed.
    fn product(&mut self, t: u64) -> f64 {
        let (done, product) = if self.product.0 < t { self.product } else { (0, 1.0) };
        let product = (done + 1..=t).fold(product, |product, s| product * self.momentum(s));
        self.product = (t, product);
        product
    }
}

impl<V: Elementwise> Optimizer<V> for NAdam<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("nadam step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let [beta1, beta2] = self.betas;
        let t = self.state.steps() + 1;
        let (now, next, product) = (self.momentum(t), self.momentum(t + 1), self.product(t));
        let (_, [m, v]) = self.state.begin(direction)?;
        average(m, beta1, &d)?;
        average_square(v, beta2, &d)?;
        let correction = 1.0 / (1.0 - beta2.powf(t as f64));
        theta.addcdiv_sqrt(-lr * (1.0 - now) / (1.0 - product), &d, correction, v, self.eps)?;
        theta.addcdiv_sqrt(-lr * next / (1.0 - product * next), m, correction, v, self.eps)
    }
}

checkpoint_of_state!(NAdam);
