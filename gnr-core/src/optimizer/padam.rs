//! Padam: between SGD with momentum and AMSGrad.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Padam, as in the authors' program.
///
/// With direction h, weight decay λ and the power p, d = h + λθ:
///
/// > m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  v̂ ← max(v̂, v),  θ ← θ − η·(√(1−β₂ᵗ)/(1−β₁ᵗ))·m/(√v̂ + ε)^{2p}.
///
/// p = ½ is AMSGrad, p → 0 SGD with momentum. Defaults: those of the entry. State, allocated by the first step: `step`,
/// `exp_avg`, `exp_avg_sq`, `max_exp_avg_sq`.
///
/// # Cost
/// Three extra vectors, one or two temporary ones, and a power an element.
///
/// # Deviation
/// Algorithm 1 of the paper has no ε and does not correct the bias of the moments. The authors' program has both, and
/// so has this type.
///
/// # References
/// Chen et al., "Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep Neural Networks", IJCAI
/// 2020, Algorithm 1.
#[derive(Clone, Debug)]
pub struct Padam<V> {
    betas: [f64; 2],
    eps: f64,
    power: f64,
    weight_decay: f64,
    state: State<V, 3>,
}

/// The domain (0, ½] of the power; ½ is AMSGrad.
const HALF: Interval = Interval { low: 0.0, low_open: true, high: 0.5, high_open: false };

impl<V> Registered for Padam<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "padam",
        title: "Padam",
        doc: "AMSGrad with a smaller power of the denominator: between AMSGrad (p = 1/2) and SGD with momentum (p near 0).",
        equation: "d = h + λθ,  m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  v̂ ← max(v̂, v),  θ ← θ − η·(√(1−β₂ᵗ)/(1−β₁ᵗ))·m/(√v̂ + ε)^{2p}",
        keys: &[
            keys::lr(0.1),
            keys::betas(&[0.9, 0.999]),
            Key::number("power", HALF, 0.125, "the power p of the second moment"),
            keys::eps(1e-8),
            keys::coupled_decay(5e-4),
        ],
        cost: Cost::state(3),
        reference: "Chen et al., \"Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep Neural Networks\", IJCAI 2020, Algorithm 1",
        resolve: None,
    };
}

impl<V> Configured for Padam<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            power: values.number("power")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Padam<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("padam step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [m, v, largest]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, &d)?;
        average_square(v, beta2, &d)?;
        largest.maximum(v)?;
        let mut factors = largest.clone();
        for f in [Map::Sqrt, Map::Add(self.eps), Map::Power(-2.0 * self.power)] {
            factors.map(f)?;
        }
        let t = t as f64;
        theta.addcmul(-lr * (1.0 - beta2.powf(t)).sqrt() / (1.0 - beta1.powf(t)), &factors, m)
    }
}

checkpoint_of_state!(Padam);
