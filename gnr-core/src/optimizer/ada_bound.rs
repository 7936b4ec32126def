//! AdaBound: Adam whose step sizes are clipped to an interval that closes on one number.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, coupled},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// AdaBound, as in the authors' program.
///
/// With direction h, weight decay λ, the peak learning rate η₀ and the final one η_f, d = h + λθ:
///
/// > m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  s = η·√(1−β₂ᵗ)/(1−β₁ᵗ),  f = η_f·η/η₀,
/// > θ ← θ − clip(s/(√v + ε), f·(1 − 1/(γt+1)), f·(1 + 1/(γt)))·m.
///
/// The method begins as Adam and ends as SGD with momentum and rate η_f. Defaults: those of the entry. State, allocated
/// by the first step: `step`, `exp_avg`, `exp_avg_sq`.
///
/// # Cost
/// Two extra vectors, and one or two temporary ones.
///
/// # Deviation
/// The paper divides the clipped step sizes by √t. The authors' program lets the bounds follow the schedule of the
/// learning rate instead, and corrects the bias of the moments; so does this.
///
/// # References
/// Luo et al., "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", ICLR 2019, Algorithm 2.
#[derive(Clone, Debug)]
pub struct AdaBound<V> {
    betas: [f64; 2],
    eps: f64,
    gamma: f64,
    /// The ratio η_f/η₀ of the final learning rate to the peak.
    final_share: f64,
    weight_decay: f64,
    state: State<V, 2>,
}

impl<V> Registered for AdaBound<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "adabound",
        title: "AdaBound",
        doc: "Adam at first and SGD with momentum at last: step sizes are clipped to bounds that close on `final_lr`.",
        equation: "m ← β₁m + (1−β₁)d,  v ← β₂v + (1−β₂)d²,  θ ← θ − clip(η√(1−β₂ᵗ)/(1−β₁ᵗ)/(√v + ε), f(1 − 1/(γt+1)), f(1 + 1/(γt)))·m,  f = η_f·η/η₀",
        keys: &[
            keys::lr(1e-3),
            Key::number(
                "final_lr",
                Interval::POSITIVE,
                0.1,
                "the step size η_f that the bounds close on, at the peak of the schedule",
            ),
            Key::number("gamma", Interval::POSITIVE, 1e-3, "how fast the bounds close, γ"),
            keys::betas(&[0.9, 0.999]),
            keys::eps(1e-8),
            keys::coupled_decay(0.0),
        ],
        cost: Cost::state(2),
        reference: "Luo et al., \"Adaptive Gradient Methods with Dynamic Bound of Learning Rate\", ICLR 2019, Algorithm 2",
        resolve: None,
    };
}

impl<V> Configured for AdaBound<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            gamma: values.number("gamma")?,
            final_share: values.number("final_lr")? / values.number("lr")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq"]),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for AdaBound<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("adabound step", theta, direction)?;
        let d = coupled(direction, theta, self.weight_decay)?;
        let (t, [m, v]) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, &d)?;
        average_square(v, beta2, &d)?;
        let t = t as f64;
        let size = lr * (1.0 - beta2.powf(t)).sqrt() / (1.0 - beta1.powf(t));
        let last = self.final_share * lr;
        let (low, high) = (1.0 - 1.0 / (self.gamma * t + 1.0), 1.0 + 1.0 / (self.gamma * t));
        let mut sizes = v.clone();
        for f in [Map::Sqrt, Map::Add(self.eps), Map::Recip] {
            sizes.map(f)?;
        }
        sizes.scale(size)?;
        sizes.map(Map::Clamp(last * low, last * high))?;
        theta.addcmul(-1.0, &sizes, m)
    }
}

checkpoint_of_state!(AdaBound);
