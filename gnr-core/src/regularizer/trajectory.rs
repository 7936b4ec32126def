//! The trajectory loss of SAF and MESA: how far a model's outputs have moved from earlier ones.

use super::StepContext;
use crate::{OutputOracle, Outputs, Result, schedule::validate_constant};

/// The loss λτ²·KL(softmax(earlier/τ) ‖ softmax(outputs/τ)), a mean over the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trajectory {
    /// The coefficient λ > 0.
    pub(super) lambda: f64,
    /// The temperature τ > 0.
    pub(super) tau: f64,
}

/// A trajectory loss at given outputs.
pub(super) struct Moved {
    /// The loss without λ.
    pub(super) value: f64,
    /// The gradient of the loss in the outputs, λ included.
    pub(super) gradient: Outputs,
}

impl Trajectory {
    /// A trajectory loss with coefficient λ and temperature τ; an error unless both are positive and finite.
    pub(super) fn new(lambda: f64, tau: f64) -> Result<Self> {
        validate_constant("lambda", lambda, |x| x > 0.0, "the coefficient must be positive and finite")?;
        validate_constant("tau", tau, |x| x > 0.0, "the temperature must be positive and finite")?;
        Ok(Self { lambda, tau })
    }

    /// The loss and its gradient. A row without earlier outputs adds 0 to the mean. `None` when no row has any.
    pub(super) fn moved<E: AsRef<[f64]>>(
        self,
        outputs: &Outputs,
        earlier: impl IntoIterator<Item = Option<E>>,
    ) -> Result<Option<Moved>> {
        let Self { lambda, tau } = self;
        let n = outputs.num_rows() as f64;
        let (mut kl, mut gradient, mut any) = (0.0, Vec::with_capacity(outputs.values().len()), false);
        for (row, earlier) in outputs.rows().zip(earlier) {
            let Some(earlier) = earlier else {
                gradient.extend(row.iter().map(|_| 0.0));
                continue;
            };
            any = true;
            let (q, p) = (log_softmax(row, tau), log_softmax(earlier.as_ref(), tau));
            kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            // d KL/d(outputs/τ) = q − p.
            let slopes = q.iter().zip(&p).map(|(q, p)| lambda * tau / n * (q.exp() - p.exp()));
            gradient.extend(slopes.take(row.len()));
        }
        let value = tau * tau * kl / n;
        Ok(if any { Some(Moved { value, gradient: Outputs::new(outputs.width(), gradient)? }) } else { None })
    }
}

/// Adds the gradient of a trajectory loss to the direction, in the name of its regulariser.
pub(super) fn add<O: OutputOracle>(
    cx: &mut StepContext<'_, O>,
    name: &'static str,
    moved: &Moved,
) -> Result<()> {
    let gradient = cx.oracle.pull_back(&cx.here.at, &moved.gradient)?;
    let added_norm = cx.add_vector(1.0, gradient)?;
    cx.learnt(name, moved.value, added_norm);
    Ok(())
}

/// Logarithms of softmax(row/τ). A row of one output is the logit of a class against another one whose logit is 0.
fn log_softmax(row: &[f64], tau: f64) -> Vec<f64> {
    let mut scaled: Vec<f64> = row.iter().map(|z| z / tau).collect();
    if scaled.len() == 1 {
        scaled.push(0.0);
    }
    let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = top + scaled.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
    scaled.into_iter().map(|z| z - log_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(outputs: &[f64], width: usize) -> Moved {
        let earlier = [Some(vec![0.5, -1.0, 2.0]), None, Some(vec![3.0, 3.0, -2.0])];
        let earlier: Vec<_> = earlier.into_iter().map(|row| row.map(|row| row[..width].to_vec())).collect();
        let outputs = Outputs::new(width, outputs.to_vec()).unwrap();
        Trajectory { lambda: 0.7, tau: 2.0 }.moved(&outputs, earlier).unwrap().unwrap()
    }

    /// The value is the divergence by its definition, and the gradient is the slope of the value.
    #[test]
    fn is_the_divergence_and_its_slope() {
        for (width, outputs) in
            [(3, vec![1.0, 0.0, -1.0, 4.0, 0.0, 0.0, 2.0, 1.0, 1.0]), (1, vec![1.0, 7.0, -3.0])]
        {
            let found = at(&outputs, width);
            let slopes = found.gradient.values();
            assert!(
                slopes[width..2 * width].iter().all(|&slope| slope == 0.0),
                "a row without earlier outputs"
            );
            for (k, slope) in slopes.iter().enumerate() {
                let value = |step: f64| {
                    let mut outputs = outputs.clone();
                    outputs[k] += step;
                    at(&outputs, width).value
                };
                let difference = 0.7 * (value(1e-4) - value(-1e-4)) / 2e-4;
                // The error of a difference: ε², and a rounding of 1e-16/ε.
                assert!((slope - difference).abs() < 1e-8, "{width}, {k}: {slope} and {difference}");
            }
        }
        let p = [0.25_f64.exp(), (-0.5_f64).exp(), 1.0_f64.exp()];
        let q = [0.5_f64.exp(), 1.0, (-0.5_f64).exp()];
        let (sp, sq) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        let kl: f64 = p.iter().zip(&q).map(|(p, q)| p / sp * (p / sp * sq / q).ln()).sum();
        let outputs = Outputs::new(3, vec![1.0, 0.0, -1.0]).unwrap();
        let alone = Trajectory { lambda: 1.0, tau: 2.0 }.moved(&outputs, [Some([0.5, -1.0, 2.0])]).unwrap();
        assert!((alone.unwrap().value - 4.0 * kl).abs() < 1e-14);
        let none = Trajectory { lambda: 1.0, tau: 2.0 }.moved(&outputs, [None::<Vec<f64>>]).unwrap();
        assert!(none.is_none());
    }
}
