//! Schedule-Free SGD: an average of the points takes the place of a falling learning rate.

use super::{
    Optimizer,
    averaging::Averaging,
    keys,
    state::{State, coupled},
};
use crate::{
    Checkpoint, Result, StateSink, StateSource, Vector,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Schedule-Free SGD.
///
/// With direction h, which is taken at θ, momentum β and weight decay λ, d = h + λθ, γ the learning rate of the step:
///
/// > z ← z − γd,  x ← (1−c)x + cz with c = γ²/Σγ²,  θ ← βx + (1−β)z.
///
/// x is the point to evaluate and to keep: [`solution`](Optimizer::solution). The learning rate stays constant after a
/// warm-up (schedule `constant`); it is about 10 times that of SGD with momentum. BatchNorm's running statistics belong
/// to θ and do not fit x: they have to be measured at x. Defaults: those of the entry. State, allocated by the first
/// step: `step`, `weight_sum`, `z`.
///
/// # Cost
/// One extra vector, and a temporary one when λ > 0.
///
/// # Deviation
/// The authors' program weighs with the largest γ so far instead of γ. The two differ only where a schedule falls, for
/// which the method is not made.
///
/// # References
/// Defazio et al., "The Road Less Scheduled", NeurIPS 2024, Eqs. 1 to 3 and Section 4.
#[derive(Clone, Debug)]
pub struct ScheduleFreeSgd<V> {
    averaging: Averaging,
    weight_decay: f64,
    state: State<V, 1>,
}

/// The domain (0, 1) of β, by which the computation of x divides.
pub(super) const BETA: Interval = Interval { low: 0.0, low_open: true, high: 1.0, high_open: true };

impl<V> Registered for ScheduleFreeSgd<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "schedule-free-sgd",
        title: "Schedule-Free SGD",
        doc: "SGD of constant learning rate whose averaged points are evaluated: no schedule that knows the end of the run.",
        equation: "d = h + λθ,  z ← z − γd,  x ← (1−c)x + cz with c = γ²/Σγ²,  θ ← βx + (1−β)z;  x is evaluated",
        keys: &[
            keys::lr(1.0),
            Key::number("momentum", BETA, 0.9, "β: where between z and x gradients are taken"),
            keys::coupled_decay(0.0),
        ],
        cost: Cost::state(1),
        reference: "Defazio et al., \"The Road Less Scheduled\", NeurIPS 2024, Eqs. 1 to 3",
        resolve: None,
    };
}

impl<V> Configured for ScheduleFreeSgd<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            averaging: Averaging::new(values.number("momentum")?),
            weight_decay: values.number("weight_decay")?,
            state: State::new(["z"]),
        })
    }
}

impl<V: Vector> Optimizer<V> for ScheduleFreeSgd<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("schedule-free step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [z]) = self.state.begin(direction)?;
        if t == 1 {
            z.clone_from(theta);
        }
        self.averaging.step(theta, z, &d, lr)
    }

    fn solution(&self, theta: &V) -> Result<Option<V>> {
        self.state.get().map(|[z]| self.averaging.mean(theta, z)).transpose()
    }
}

impl<V: Vector> Checkpoint<V> for ScheduleFreeSgd<V> {
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
