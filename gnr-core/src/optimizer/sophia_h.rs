//! Sophia-H: a momentum divided by the diagonal of the Hessian, and clipped.

use super::{
    Optimizer,
    hutchinson::Curved,
    keys,
    state::{average, checkpoint_of_state, shrink},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Sophia with Hutchinson's estimates of the diagonal of the Hessian.
///
/// With direction h, an estimate d̂ on every k-th step and weight decay λ:
///
/// > m ← β₁m + (1−β₁)h,  D ← β₂D + (1−β₂)d̂,  θ ← (1 − ηλ)θ,  θ ← θ − η·clip(m/max(γD, ε), −1, 1).
///
/// Beside the weight decay no coordinate moves by more than η. A coordinate whose D is not positive (negative or
/// vanishing curvature, and any before the first estimate) moves by η along the sign of m. γ decides how many
/// coordinates are clipped: the authors tune it until 10 to 50 % of them are not. Defaults: those of the entry. State,
/// allocated on first use: `step`, `exp_avg`, `hessian_count`, `hessian_step`, `exp_hessian_diag`.
///
/// The estimates come from [`HessianDiagonal`](crate::regularizer::HessianDiagonal) beside the other regularisers, if
/// there are any. In a recipe the key `hessian_every` adds it.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{
///     Clip, Every, Method, Sam,
///     optimizer::SophiaH,
///     registry::Configured,
///     regularizer::HessianDiagonal,
///     testing::{ProblemOracle, Quadratic},
/// };
/// let mut method = Method {
///     regularizer: (Every::new(HessianDiagonal::new(7), 10)?, Sam::new(0.05)?),
///     optimizer: SophiaH::<Vec<f64>>::with([("gamma", 0.5.into())])?,
///     learning_rate: 0.01,
///     clip: Clip::None,
/// };
/// // One direction is a thousand times as steep as the other.
/// let mut batch = ProblemOracle::new(Quadratic::diagonal(&[100.0, 0.1]));
/// let mut theta = vec![1.0, 1.0];
/// for t in 0..200 {
///     method.step(t, &mut theta, &mut batch)?;
/// }
/// assert!(theta.iter().all(|x| x.abs() < 0.1), "{theta:?}");
/// # Ok(())
/// # }
/// ```
///
/// # Cost
/// Two extra vectors, and a temporary one. The estimate is one Hessian-vector product on every k-th step.
///
/// # Deviation
/// The estimate uses random signs where the paper draws a normal vector. Both have the diagonal as their expectation;
/// signs have the smaller variance.
///
/// # References
/// Liu et al., "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training", ICLR 2024,
/// Algorithms 1 and 3.
#[derive(Clone, Debug)]
pub struct SophiaH<V> {
    betas: [f64; 2],
    gamma: f64,
    eps: f64,
    weight_decay: f64,
    state: Curved<V>,
}

impl<V> Registered for SophiaH<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "sophia-h",
        title: "Sophia-H",
        doc: "A momentum divided by an average of the Hessian's diagonal, each coordinate clipped: beside the weight decay none moves by more than the learning rate.",
        equation: "m ← β₁m + (1−β₁)h,  D ← β₂D + (1−β₂)·z⊙∇²L̂z every k steps,  θ ← (1 − ηλ)θ − η·clip(m/max(γD, ε), −1, 1)",
        keys: &[
            keys::lr(6e-4),
            keys::diagonal_betas(&[0.96, 0.99]),
            Key::number(
                "gamma",
                Interval::POSITIVE,
                0.01,
                "the share γ of the diagonal that divides the momentum: the larger, the fewer coordinates are clipped",
            ),
            Key::number("eps", Interval::POSITIVE, 1e-12, "the least denominator ε"),
            keys::hessian_every(10),
            keys::decoupled_decay(0.1),
        ],
        cost: Cost { gradients: 0.0, products: 0.1, forwards: 0.0, vectors: 2, outputs: false },
        reference: "Liu et al., \"Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training\", ICLR 2024, Algorithm 3",
        resolve: None,
    };
}

impl<V> Configured for SophiaH<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            gamma: values.number("gamma")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: Curved::new("exp_hessian_diag"),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for SophiaH<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("sophia-h step", theta, direction)?;
        shrink(theta, lr, self.weight_decay)?;
        let (_, m, heard) = self.state.begin(direction)?;
        average(m, self.betas[0], direction)?;
        let mut ratio = match heard {
            Some(heard) => {
                let mut ratio = heard.mean.clone();
                ratio.scale(self.gamma)?;
                ratio.map(Map::Clamp(self.eps, f64::INFINITY))?;
                ratio.map(Map::Recip)?;
                ratio.multiply(m)?;
                ratio
            }
            // D is 0 before the first estimate.
            None => {
                let mut ratio = m.clone();
                ratio.scale(1.0 / self.eps)?;
                ratio
            }
        };
        ratio.map(Map::Clamp(-1.0, 1.0))?;
        theta.axpy(-lr, &ratio)
    }

    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        average(self.state.hear("sophia-h estimate", diagonal)?, self.betas[1], diagonal)
    }
}

checkpoint_of_state!(SophiaH);
