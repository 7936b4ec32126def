//! AdaHessian: Adam whose second moment is that of the diagonal of the Hessian.

use super::{
    Optimizer,
    hutchinson::{Curved, Scaled},
    keys,
    state::{average, average_square, checkpoint_of_state, shrink},
};
use crate::{
    Elementwise, Result,
    registry::{Configured, Cost, Entry, Registered, Values},
};

/// AdaHessian, as in the authors' program.
///
/// With direction h, an estimate d̂ of the diagonal of the Hessian on every step, the Hessian power k and weight decay
/// λ:
///
/// > m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)d̂²,  θ ← (1 − ηλ)θ,  θ ← θ − η·(m/(1−β₁ᵗ))/(√(v/(1−β₂ⁿ))ᵏ + ε),
///
/// n the number of estimates so far, which is t where every step has one. Before the first estimate the denominator is
/// 1 + ε. Defaults: those of the entry. State, allocated on first use: `step`, `exp_avg`, `hessian_count`,
/// `hessian_step`, `exp_hessian_diag_sq`.
///
/// The estimates come from [`HessianDiagonal`](crate::regularizer::HessianDiagonal) beside the other regularisers, if
/// there are any. In a recipe the key `hessian_every` adds it.
///
/// # Cost
/// Two extra vectors, and a temporary one where k ≠ 1. The estimate is one Hessian-vector product, by default on every
/// step.
///
/// # Deviation
/// The paper's spatial averaging is left out: the mean of |d̂| over the elements of each convolution kernel (its block
/// size is 1 here). An optimiser sees θ as one vector, without the shapes of its tensors.
///
/// The authors' program estimates on every step. With fewer estimates v changes on the steps that have one, and n in
/// place of t keeps the correction of its bias exact.
///
/// # References
/// Yao et al., "ADAHESSIAN: An Adaptive Second Order Optimizer for Machine Learning", AAAI 2021, Algorithm 1.
#[derive(Clone, Debug)]
pub struct AdaHessian<V> {
    betas: [f64; 2],
    eps: f64,
    power: f64,
    weight_decay: f64,
    state: Curved<V>,
}

impl<V> Registered for AdaHessian<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "adahessian",
        title: "AdaHessian",
        doc: "Adam with the root mean square of the Hessian's diagonal in the denominator, in place of that of the gradient.",
        equation: "m ← β₁m + (1−β₁)h,  v ← β₂v + (1−β₂)(z⊙∇²L̂z)² at estimate n,  θ ← (1 − ηλ)θ − η·(m/(1−β₁ᵗ))/(√(v/(1−β₂ⁿ))ᵏ + ε)",
        keys: &[
            keys::lr(0.15),
            keys::diagonal_betas(&[0.9, 0.999]),
            keys::eps(1e-4),
            keys::hessian_power(1.0),
            keys::hessian_every(1),
            keys::decoupled_decay(0.0),
        ],
        cost: Cost { gradients: 0.0, products: 1.0, forwards: 0.0, vectors: 2, outputs: false },
        reference: "Yao et al., \"ADAHESSIAN: An Adaptive Second Order Optimizer for Machine Learning\", AAAI 2021, Algorithm 1",
        resolve: None,
    };
}

impl<V> Configured for AdaHessian<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            power: values.number("hessian_power")?,
            weight_decay: values.number("weight_decay")?,
            state: Curved::new("exp_hessian_diag_sq"),
        })
    }
}

impl<V: Elementwise> Optimizer<V> for AdaHessian<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("adahessian step", theta, direction)?;
        shrink(theta, lr, self.weight_decay)?;
        let (t, m, heard) = self.state.begin(direction)?;
        let [beta1, beta2] = self.betas;
        average(m, beta1, direction)?;
        let size = lr / (1.0 - beta1.powf(t as f64));
        let Some(heard) = heard else {
            return theta.axpy(-size / (1.0 + self.eps), m);
        };
        let correction = 1.0 / (1.0 - beta2.powf(heard.count as f64));
        // The denominator is √v to the power k, which is v to the power k/2.
        let scaled = Scaled { size, correction, power: 0.5 * self.power, eps: self.eps };
        scaled.step(theta, m, &heard.mean)
    }

    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        average_square(self.state.hear("adahessian estimate", diagonal)?, self.betas[1], diagonal)
    }
}

checkpoint_of_state!(AdaHessian);
