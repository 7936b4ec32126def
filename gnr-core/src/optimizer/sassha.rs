//! SASSHA: SAM's gradient, divided by the root of the Hessian's absolute diagonal.

use super::{
    Optimizer,
    hutchinson::{Curved, Scaled},
    keys,
    state::{average, checkpoint_of_state, shrink},
};
use crate::{
    Elementwise, Map, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// The optimiser of SASSHA, as in the authors' program. The sharpness-aware part is the regulariser [`Sam`](crate::Sam)
/// beside it.
///
/// With direction h, an estimate d̂ of the diagonal of the Hessian on every k-th step, the power p (½: a square root)
/// and weight decay λ:
///
/// > m ← β₁m + (1−β₁)h,  D ← β₂D + (1−β₂)|d̂|,  θ ← (1 − ηλ)θ,  θ ← θ − η·(m/(1−β₁ᵗ))/((D/(1−β₂ˢ))ᵖ + ε),
///
/// where s is the step of the last estimate. Before the first estimate the denominator is 1 + ε. Defaults: those of the
/// entry. State, allocated on first use: `step`, `exp_avg`, `hessian_count`, `hessian_step`, `exp_hessian_diag`.
///
/// SASSHA takes gradient and Hessian at SAM's point θ + ρ·∇L̂/‖∇L̂‖:
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Clip, Every, Method, Sam, optimizer::Sassha, registry::Configured, regularizer::HessianDiagonal};
/// let rho = 0.2;
/// let method = Method {
///     regularizer: (Every::new(HessianDiagonal::new(7).with_radius(rho)?, 10)?, Sam::new(rho)?),
///     optimizer: Sassha::<Vec<f64>>::with([("weight_decay", 5e-4.into())])?,
///     learning_rate: 0.15,
///     clip: Clip::None,
/// };
/// # let _ = method;
/// # Ok(())
/// # }
/// ```
///
/// A recipe needs the regulariser `sam` beside this optimiser. The radius of `sam`, along its schedule, is then that of
/// the estimates: `hessian_every` adds them, and `hessian_at` puts them at SAM's point. Without `sam` they are taken at
/// θ.
///
/// # Cost
/// Two extra vectors, and a temporary one. The estimate is one Hessian-vector product on every k-th step; SAM adds a
/// gradient on every step.
///
/// # Deviation
/// The power is constant. The authors' program can let it follow the schedule, which is not its default.
///
/// # References
/// Shin et al., "SASSHA: Sharpness-aware Adaptive Second-order Optimization with Stable Hessian Approximation", ICML
/// 2025.
#[derive(Clone, Debug)]
pub struct Sassha<V> {
    betas: [f64; 2],
    eps: f64,
    power: f64,
    weight_decay: f64,
    state: Curved<V>,
}

impl<V> Registered for Sassha<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "sassha",
        title: "SASSHA",
        doc: "A momentum divided by the root of the Hessian's absolute diagonal; made for the gradients of the regulariser `sam`.",
        equation: "m ← β₁m + (1−β₁)h,  D ← β₂D + (1−β₂)|z⊙∇²L̂z| every k steps,  θ ← (1 − ηλ)θ − η·(m/(1−β₁ᵗ))/((D/(1−β₂ˢ))ᵖ + ε)",
        keys: &[
            keys::lr(0.15),
            keys::diagonal_betas(&[0.9, 0.999]),
            keys::eps(1e-4),
            keys::hessian_power(0.5),
            keys::hessian_every(10),
            keys::HESSIAN_AT,
            keys::decoupled_decay(0.0),
        ],
        cost: Cost { gradients: 0.0, products: 0.1, forwards: 0.0, vectors: 2, outputs: false },
        reference: "Shin et al., \"SASSHA: Sharpness-aware Adaptive Second-order Optimization with Stable Hessian Approximation\", ICML 2025",
        resolve: None,
    };
}

impl<V> Configured for Sassha<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            power: values.number("hessian_power")?,
            weight_decay: values.number("weight_decay")?,
            state: Curved::new("exp_hessian_diag"),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for Sassha<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("sassha step", theta, direction)?;
        shrink(theta, lr, self.weight_decay)?;
        let (t, m, heard) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, direction)?;
        let size = lr / (1.0 - beta1.powf(t as f64));
        let Some(heard) = heard else {
            return theta.axpy(-size / (1.0 + self.eps), m);
        };
        let correction = 1.0 / (1.0 - beta2.powf(heard.last as f64));
        Scaled { size, correction, power: self.power, eps: self.eps }.step(theta, m, &heard.mean)
    }

    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        let mean = self.state.hear("sassha estimate", diagonal)?;
        let mut size = diagonal.clone();
        size.map(Map::Abs)?;
        average(mean, self.betas[1], &size)
    }
}

checkpoint_of_state!(Sassha);
