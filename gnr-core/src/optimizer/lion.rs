//! Lion: steps of one size, along the sign of a momentum.

use super::{
    Optimizer, keys,
    state::{State, average, checkpoint_of_state, shrink},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// Lion (evolved sign momentum).
///
/// With direction h and weight decay λ:
///
/// > θ ← (1 − ηλ)θ,  θ ← θ − η·sign(β₁m + (1−β₁)h),  m ← β₂m + (1−β₂)h.
///
/// Beside the weight decay every coordinate moves by η, or not at all where the sign is 0. The learning rate is 3 to 10
/// times smaller than AdamW's, and the weight decay larger by an equal factor.
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg`.
///
/// # Cost
/// One extra vector, and a temporary one.
///
/// # References
/// Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, Algorithm 2 (Program 1).
#[derive(Clone, Debug)]
pub struct Lion<V> {
    betas: [f64; 2],
    weight_decay: f64,
    state: State<V, 1>,
}

impl<V> Registered for Lion<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "lion",
        title: "Lion",
        doc: "Steps of one size along the sign of a momentum, with half the memory of AdamW; a tenth to a third of its learning rate.",
        equation: "θ ← (1 − ηλ)θ − η·sign(β₁m + (1−β₁)h),  m ← β₂m + (1−β₂)h",
        keys: &[keys::lr(1e-4), keys::betas(&[0.9, 0.99]), keys::decoupled_decay(0.0)],
        cost: Cost::state(1),
        reference: "Chen et al., \"Symbolic Discovery of Optimization Algorithms\", NeurIPS 2023, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for Lion<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Lion<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("lion step", theta, direction)?;
        shrink(theta, lr, self.weight_decay)?;
        let (_, [m]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        let mut step = m.clone();
        average(&mut step, beta1, direction)?;
        step.map(Map::Sign)?;
        theta.axpy(-lr, &step)?;
        average(m, beta2, direction)
    }
}

checkpoint_of_state!(Lion);
