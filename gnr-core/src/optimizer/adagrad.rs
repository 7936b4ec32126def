//! Adagrad: each coordinate divided by the root of the sum of its squares.

use super::{
    Optimizer, keys,
    state::{State, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// Adagrad with a diagonal preconditioner, as in PyTorch's `torch.optim.Adagrad` without `lr_decay`.
///
/// With direction h and weight decay λ, d = h + λθ:
///
/// > s ← s + d²,  θ ← θ − η·d/(√s + ε).
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `sum`.
///
/// # Cost
/// One extra vector, and a temporary one when λ > 0.
///
/// # References
/// Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 12,
/// 2011, Figure 1 with diagonal matrices.
#[derive(Clone, Debug)]
pub struct Adagrad<V> {
    eps: f64,
    weight_decay: f64,
    state: State<V, 1>,
}

impl<V> Registered for Adagrad<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "adagrad",
        title: "Adagrad",
        doc: "Steps divided by the root of the sum of all squares so far, for sparse directions; as `torch.optim.Adagrad`.",
        equation: "d = h + λθ,  s ← s + d²,  θ ← θ − η·d/(√s + ε)",
        keys: &[keys::lr(1e-2), keys::eps(1e-10), keys::coupled_decay(0.0)],
        cost: Cost::state(1),
        reference: "Duchi, Hazan and Singer, \"Adaptive Subgradient Methods for Online Learning and Stochastic Optimization\", JMLR 12, 2011",
        resolve: None,
    };
}

impl<V> Configured for Adagrad<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["sum"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Adagrad<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("adagrad step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (_, [sum]) = self.state.begin(direction)?;
        sum.addcmul(1.0, &d, &d)?;
        theta.addcdiv_sqrt(-lr, &d, 1.0, sum, self.eps)
    }
}

checkpoint_of_state!(Adagrad);
