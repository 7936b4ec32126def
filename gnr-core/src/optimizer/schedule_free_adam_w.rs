//! Schedule-Free AdamW: an average of the points takes the place of momentum and of a falling learning rate.

use super::{
    Optimizer,
    averaging::Averaging,
    keys,
    schedule_free_sgd::BETA,
    state::{State, average_square},
};
use crate::{
    Checkpoint, Elementwise, Result, StateSink, StateSource, Vector,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Schedule-Free AdamW, as in the paper and the authors' `AdamWScheduleFreePaper`.
///
/// With direction h, which is taken at θ, and weight decay λ, γ = η√(1−β₂ᵗ):
///
/// > v ← β₂v + (1−β₂)h²,  d = h/(√v + ε) + λθ,  z ← z − γd,  x ← (1−c)x + cz with c = γ²/Σγ²,  θ ← β₁x + (1−β₁)z.
///
/// x is the point to evaluate and to keep: [`solution`](Optimizer::solution). The learning rate stays constant after a
/// warm-up (schedule `constant`). BatchNorm's running statistics belong to θ and do not fit x: they have to be
/// measured at x. Defaults: those of the entry. State, allocated by the first step: `step`, `weight_sum`, `z`,
/// `exp_avg_sq`.
///
/// # Cost
/// Two extra vectors, and a temporary one.
///
/// # Deviation
/// The authors' program weighs with the largest γ so far instead of γ. The two differ only where a schedule falls, for
/// which the method is not made.
///
/// # References
/// Defazio et al., "The Road Less Scheduled", NeurIPS 2024, Algorithm 1.
#[derive(Clone, Debug)]
pub struct ScheduleFreeAdamW<V> {
    averaging: Averaging,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    state: State<V, 2>,
}

impl<V> Registered for ScheduleFreeAdamW<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "schedule-free-adamw",
        title: "Schedule-Free AdamW",
        doc: "AdamW of constant learning rate whose averaged points are evaluated: no schedule that knows the end of the run.",
        equation: "v ← β₂v + (1−β₂)h²,  γ = η√(1−β₂ᵗ),  d = h/(√v + ε) + λθ,  z ← z − γd,  x ← (1−c)x + cz with c = γ²/Σγ²,  θ ← β₁x + (1−β₁)z;  x is evaluated",
        keys: &[
            keys::lr(2.5e-3),
            Key::number("beta1", BETA, 0.9, "β₁: where between z and x gradients are taken"),
            Key::number("beta2", Interval::RATE, 0.999, "decay rate β₂ of the second moment"),
            keys::eps(1e-8),
            keys::decoupled_decay(0.0),
        ],
        cost: Cost::state(2),
        reference: "Defazio et al., \"The Road Less Scheduled\", NeurIPS 2024, Algorithm 1",
        resolve: None,
    };
}

impl<V> Configured for ScheduleFreeAdamW<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            averaging: Averaging::new(values.number("beta1")?),
            beta2: values.number("beta2")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["z", "exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for ScheduleFreeAdamW<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("schedule-free step", theta, direction)?;
        let (t, [z, v]) = self.state.begin(direction)?;
        if t == 1 {
            z.clone_from(theta);
        }
        average_square(v, self.beta2, direction)?;
        let mut d = theta.clone();
        d.scale(self.weight_decay)?;
        d.addcdiv_sqrt(1.0, direction, 1.0, v, self.eps)?;
        self.averaging.step(theta, z, &d, lr * (1.0 - self.beta2.powf(t as f64)).sqrt())
    }

    fn solution(&self, theta: &V) -> Result<Option<V>> {
        self.state.get().map(|[z, _]| self.averaging.mean(theta, z)).transpose()
    }
}

impl<V: Vector> Checkpoint<V> for ScheduleFreeAdamW<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.averaging.save(sink)?;
        self.state.save(sink)
    }
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let averaging = self.averaging.read(source)?;
        self.state.load(source)?;
        self.averaging = averaging;
        Ok(())
    }
}
