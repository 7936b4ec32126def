//! RMSprop: each coordinate divided by the root of its running square.

use super::{
    Optimizer, keys,
    state::{State, average_square, coupled},
};
use crate::{
    Checkpoint, Elementwise, Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::optional_vector,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
    vector::same_dim,
};

/// RMSprop, as in PyTorch's `torch.optim.RMSprop` (not centred).
///
/// With direction h and weight decay λ, d = h + λθ:
///
/// > v ← αv + (1−α)d²,  b ← μb + d/(√v + ε),  θ ← θ − η·b.
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `square_avg`, and with momentum (μ > 0)
/// `momentum_buffer`.
///
/// # Cost
/// One extra vector, two when μ > 0, and a temporary one when λ > 0.
///
/// # References
/// Tieleman and Hinton, "Lecture 6.5 – RMSProp", COURSERA: Neural Networks for Machine Learning, 2012. Momentum, and ε
/// outside of the root, are PyTorch's.
#[derive(Clone, Debug)]
pub struct RmsProp<V> {
    alpha: f64,
    eps: f64,
    mu: f64,
    weight_decay: f64,
    state: State<V, 1>,
    momentum: Option<V>,
}

impl<V> Registered for RmsProp<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "rmsprop",
        title: "RMSprop",
        doc: "Steps divided by the root of the running square of the direction, with momentum if wanted; as `torch.optim.RMSprop`.",
        equation: "d = h + λθ,  v ← αv + (1−α)d²,  b ← μb + d/(√v + ε),  θ ← θ − η·b",
        keys: &[
            keys::lr(1e-2),
            Key::number("alpha", Interval::RATE, 0.99, "decay rate α of the running square"),
            keys::eps(1e-8),
            Key::number("momentum", Interval::RATE, 0.0, "momentum μ; 0: none"),
            keys::coupled_decay(0.0),
        ],
        cost: Cost::state(1),
        reference: "Tieleman and Hinton, \"Lecture 6.5 - RMSProp\", COURSERA: Neural Networks for Machine Learning, 2012",
        resolve: None,
    };
}

impl<V> Configured for RmsProp<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            alpha: values.number("alpha")?,
            eps: values.number("eps")?,
            mu: values.number("momentum")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["square_avg"]),
            momentum: None,
        })
    }
}

impl<V: Elementwise> Optimizer<V> for RmsProp<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("rmsprop step", theta, direction)?;
        if let Some(buffer) = &self.momentum {
            same_dim("rmsprop momentum", theta.dim(), buffer.dim())?;
        }
        let d = coupled(direction, theta, self.weight_decay)?;
        let (_, [v]) = self.state.begin(direction)?;
        average_square(v, self.alpha, &d)?;
        if self.mu == 0.0 {
            return theta.addcdiv_sqrt(-lr, &d, 1.0, v, self.eps);
        }
        let buffer = match &mut self.momentum {
            Some(buffer) => {
                buffer.scale(self.mu)?;
                buffer
            }
            none => {
                let mut zero = direction.clone();
                zero.scale(0.0)?;
                none.insert(zero)
            }
        };
        buffer.addcdiv_sqrt(1.0, &d, 1.0, v, self.eps)?;
        theta.axpy(-lr, buffer)
    }
}

impl<V: Vector> Checkpoint<V> for RmsProp<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.state.save(sink)?;
        self.momentum.as_ref().map_or(Ok(()), |buffer| sink.put("momentum_buffer", Leaf::Vector(buffer)))
    }

    /// Loads the state. A missing buffer starts from zero; one that is not needed (μ = 0) is left in the checkpoint.
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let momentum = if self.mu > 0.0 { optional_vector(source, "momentum_buffer")? } else { None };
        self.state.load(source)?;
        self.momentum = momentum;
        Ok(())
    }
}
