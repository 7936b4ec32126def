//! Stochastic gradient descent with momentum, Nesterov momentum and coupled weight decay.

use super::{Optimizer, keys};
use crate::{
    Checkpoint, Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::optional_vector,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Value, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// The kind of momentum of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Momentum {
    HeavyBall,
    Nesterov,
}

/// Stochastic gradient descent, as in PyTorch's `torch.optim.SGD` without dampening.
///
/// With direction h, momentum μ and weight decay λ:
///
/// > d = h + λθ,  b₁ = d, b_t = μ·b_{t−1} + d,  θ ← θ − η·b_t (heavy ball) or θ ← θ − η·(d + μ·b_t) (Nesterov).
///
/// Defaults: μ = 0, λ = 0. State, allocated by the first step: `momentum` (only when μ > 0).
///
/// # Cost
/// One extra vector when μ > 0, none otherwise: the formula is applied to θ and the buffer in place.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Optimizer, Sgd};
/// let mut sgd = Sgd::new().with_momentum(0.5)?;
/// let mut theta = vec![1.0_f64];
/// sgd.step(&mut theta, &vec![1.0], 0.1)?; // 1 − 0.1·1
/// sgd.step(&mut theta, &vec![1.0], 0.1)?; // 0.9 − 0.1·(0.5·1 + 1)
/// assert!((theta[0] - 0.75).abs() < 1e-15);
/// # Ok(())
/// # }
/// ```
///
/// # References
/// Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
#[derive(Clone, Debug)]
pub struct Sgd<V> {
    mu: f64,
    kind: Momentum,
    weight_decay: f64,
    momentum: Option<V>,
}

impl<V> Registered for Sgd<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "sgd",
        title: "SGD",
        doc: "Stochastic gradient descent with heavy-ball or Nesterov momentum, as `torch.optim.SGD` without dampening.",
        equation: "d = h + λθ,  b ← μb + d,  θ ← θ − η·b  (Nesterov: θ − η(d + μb))",
        keys: &[
            keys::lr(0.1),
            Key::number("momentum", Interval::RATE, 0.9, "momentum μ; 0: none"),
            Key::flag("nesterov", false, "Nesterov's momentum instead of the heavy ball"),
            keys::coupled_decay(5e-4),
        ],
        cost: Cost::state(1),
        reference: "Sutskever et al., \"On the importance of initialization and momentum in deep learning\", ICML 2013",
        resolve: Some(|values| match (values.flag("nesterov")?, values.get("momentum")) {
            (true, Some(&Value::Number(0.0))) => {
                Err(values.refusal("nesterov", "true", "needs a momentum above 0"))
            }
            _ => Ok(()),
        }),
    };
}

impl<V> Configured for Sgd<V> {
    fn configured(values: &Values) -> Result<Self> {
        let sgd = Self::new().with_weight_decay(values.number("weight_decay")?)?;
        let momentum = values.number("momentum")?;
        if values.flag("nesterov")? {
            sgd.with_nesterov_momentum(momentum)
        } else {
            sgd.with_momentum(momentum)
        }
    }
}

impl<V> Default for Sgd<V> {
    fn default() -> Self {
        Self { mu: 0.0, kind: Momentum::HeavyBall, weight_decay: 0.0, momentum: None }
    }
}

impl<V> Sgd<V> {
    /// SGD without momentum or weight decay: θ ← θ − η·h.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets heavy-ball momentum μ (usually 0.9).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless 0 ≤ μ < 1.
    pub fn with_momentum(mut self, mu: f64) -> Result<Self> {
        validate_constant("momentum", mu, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        (self.mu, self.kind) = (mu, Momentum::HeavyBall);
        Ok(self)
    }

    /// Sets Nesterov momentum μ (usually 0.9).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless 0 < μ < 1.
    pub fn with_nesterov_momentum(mut self, mu: f64) -> Result<Self> {
        validate_constant("momentum", mu, |x| x > 0.0 && x < 1.0, "Nesterov momentum must lie in (0, 1)")?;
        (self.mu, self.kind) = (mu, Momentum::Nesterov);
        Ok(self)
    }

    /// Sets the coupled weight decay λ; default 0. The gradient of λ‖θ‖²/2 joins the direction, momentum included.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless λ ≥ 0 and finite.
    pub fn with_weight_decay(mut self, lambda: f64) -> Result<Self> {
        validate_constant("weight_decay", lambda, |x| x >= 0.0, "must not be negative")?;
        self.weight_decay = lambda;
        Ok(self)
    }
}

impl<V: Vector> Optimizer<V> for Sgd<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        same_dim("sgd step", theta.dim(), direction.dim())?;
        let lambda = self.weight_decay;

        if self.mu > 0.0 {
            let buffer = match &mut self.momentum {
                Some(buffer) => {
                    same_dim("sgd momentum", theta.dim(), buffer.dim())?;
                    buffer.scale(self.mu)?;
                    buffer.axpy(1.0, direction)?;
                    buffer
                }
                // PyTorch's convention: the first buffer is the gradient itself, not (1 − μ) of it.
                none => none.insert(direction.clone()),
            };
            if lambda > 0.0 {
                buffer.axpy(lambda, theta)?;
            }
        }
        // A buffer of earlier steps with momentum stays, and is of no use at μ = 0.
        match (self.momentum.as_ref().filter(|_| self.mu > 0.0), self.kind) {
            (Some(buffer), Momentum::HeavyBall) => theta.axpy(-lr, buffer),
            (buffer, _) => {
                // Computes θ − η(h + λθ + μb) without a temporary vector for the sum.
                if lambda > 0.0 {
                    theta.scale(1.0 - lr * lambda)?;
                }
                theta.axpy(-lr, direction)?;
                buffer.map_or(Ok(()), |buffer| theta.axpy(-lr * self.mu, buffer))
            }
        }
    }
}

impl<V: Vector> Checkpoint<V> for Sgd<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.momentum.as_ref().map_or(Ok(()), |buffer| sink.put("momentum", Leaf::Vector(buffer)))
    }

    /// Loads the state. Without `momentum` the next step's direction starts the buffer, as in an optimiser that never
    /// stepped. A buffer that is not needed (μ = 0) is left in the checkpoint.
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        self.momentum = if self.mu > 0.0 { optional_vector(source, "momentum")? } else { None };
        Ok(())
    }
}
