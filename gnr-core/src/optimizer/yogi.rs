//! Yogi: Adam whose second moment moves by steps of the size of the square, not of the difference.

use super::{
    Optimizer, keys,
    state::{State, average, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Yogi: Adam whose second moment moves towards d² by steps of size (1−β₂)·d².
///
/// With direction h and weight decay λ, d = h + λθ:
///
/// > m ← β₁m + (1−β₁)d,  v ← v − (1−β₂)·sign(v − d²)·d²,  θ ← θ − η·m/(√v + ε).
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`, `exp_avg_sq`; v starts at
/// `initial`.
///
/// # Cost
/// Two extra vectors, and two temporary ones.
///
/// # Deviation
/// v starts at 1e-6, as in Google's implementations in TensorFlow, not at 0; m starts at 0. As in Algorithm 2, and
/// unlike in those implementations, no bias is corrected. Weight decay is not part of the paper.
///
/// # References
/// Zaheer et al., "Adaptive Methods for Nonconvex Optimization", NeurIPS 2018, Algorithm 2.
#[derive(Clone, Debug)]
pub struct Yogi<V> {
    betas: [f64; 2],
    eps: f64,
    initial: f64,
    weight_decay: f64,
    state: State<V, 2>,
}

impl<V> Registered for Yogi<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "yogi",
        title: "Yogi",
        doc: "Adam whose second moment falls slowly after large gradients: it moves by (1−β₂)d² up or down, whatever its distance.",
        equation: "d = h + λθ,  m ← β₁m + (1−β₁)d,  v ← v − (1−β₂)·sign(v − d²)·d²,  θ ← θ − η·m/(√v + ε)",
        keys: &[
            keys::lr(1e-2),
            keys::betas(&[0.9, 0.999]),
            keys::eps(1e-3),
            Key::number("initial", Interval::NOT_NEGATIVE, 1e-6, "what the second moment v starts at"),
            keys::coupled_decay(0.0),
        ],
        cost: Cost::state(2),
        reference: "Zaheer et al., \"Adaptive Methods for Nonconvex Optimization\", NeurIPS 2018, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for Yogi<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            initial: values.number("initial")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Yogi<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("yogi step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [m, v]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        if t == 1 {
            v.map(Map::Add(self.initial))?;
        }
        average(m, beta1, &d)?;
        let mut square = d.into_owned();
        square.map(Map::Square)?;
        let mut sign = v.clone();
        sign.axpy(-1.0, &square)?;
        sign.map(Map::Sign)?;
        v.addcmul(beta2 - 1.0, &sign, &square)?;
        theta.addcdiv_sqrt(-lr, m, 1.0, v, self.eps)
    }
}

checkpoint_of_state!(Yogi);
