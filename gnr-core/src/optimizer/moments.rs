//! The state that Adam and AdamW share: step number and running first and second moments.

use crate::{
    Elementwise, Leaf, Result, StateSink, StateSource,
    checkpoint::{bad_leaf, optional_vector, required_count},
    schedule::validate_constant,
    vector::same_dim,
};

/// β₁, β₂, ε and m, v, t of the Adam family.
#[derive(Clone, Debug)]
pub(super) struct Moments<V> {
    beta1: f64,
    beta2: f64,
    eps: f64,
    step: u64,
    /// m and v; `None` until the first step.
    averages: Option<(V, V)>,
}

impl<V> Default for Moments<V> {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 0, averages: None }
    }
}

impl<V> Moments<V> {
    pub(super) fn set_betas(&mut self, beta1: f64, beta2: f64) -> Result<()> {
        for (name, beta) in [("beta1", beta1), ("beta2", beta2)] {
            validate_constant(name, beta, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        }
        (self.beta1, self.beta2) = (beta1, beta2);
        Ok(())
    }

    pub(super) fn set_eps(&mut self, eps: f64) -> Result<()> {
        // Zero would make 0/0 of a parameter whose gradient vanishes.
        validate_constant("eps", eps, |x| x > 0.0, "must be positive")?;
        self.eps = eps;
        Ok(())
    }
}

impl<V: Elementwise> Moments<V> {
    /// Checks, before anything changes, that θ, direction and state live in one space.
    pub(super) fn check(&self, operation: &'static str, theta: &V, direction: &V) -> Result<()> {
        same_dim(operation, theta.dim(), direction.dim())?;
        self.averages.as_ref().map_or(Ok(()), |(m, _)| same_dim(operation, theta.dim(), m.dim()))
    }

    /// m ← β₁m + (1−β₁)d, v ← β₂v + (1−β₂)d², θ ← θ − η·m̂/(√v̂ + ε) with m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).
    pub(super) fn step(&mut self, theta: &mut V, d: &V, lr: f64) -> Result<()> {
        let (m, v) = match &mut self.averages {
            Some(averages) => averages,
            none => {
                let mut zero = d.clone();
                zero.scale(0.0)?;
                none.insert((zero.clone(), zero))
            }
        };
        self.step += 1;
        m.scale(self.beta1)?;
        m.axpy(1.0 - self.beta1, d)?;
        v.scale(self.beta2)?;
        v.addcmul(1.0 - self.beta2, d, d)?;
        let t = self.step as f64;
        let (correction1, correction2) = (1.0 - self.beta1.powf(t), 1.0 - self.beta2.powf(t));
        theta.addcdiv_sqrt(-lr / correction1, m, 1.0 / correction2, v, self.eps)
    }

    pub(super) fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        sink.put("step", Leaf::Count(self.step))?;
        if let Some((m, v)) = &self.averages {
            sink.put("exp_avg", Leaf::Vector(m))?;
            sink.put("exp_avg_sq", Leaf::Vector(v))?;
        }
        Ok(())
    }

    pub(super) fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let step = required_count(source, "step")?;
        let exp_avg = optional_vector(source, "exp_avg")?;
        let exp_avg_sq = optional_vector(source, "exp_avg_sq")?;
        let averages = match (step, exp_avg, exp_avg_sq) {
            (0, None, None) => None,
            (1.., Some(m), Some(v)) => {
                if m.dim() != v.dim() {
                    let problem = format!("dimension {}, but exp_avg has {}", v.dim(), m.dim());
                    return Err(bad_leaf("exp_avg_sq", problem));
                }
                Some((m, v))
            }
            (_, None, _) => return Err(bad_leaf("exp_avg", format!("missing after {step} steps"))),
            (_, Some(_), None) => return Err(bad_leaf("exp_avg_sq", format!("missing after {step} steps"))),
            (0, Some(_), Some(_)) => return Err(bad_leaf("step", "0, but moments are present")),
        };
        (self.step, self.averages) = (step, averages);
        Ok(())
    }
}
