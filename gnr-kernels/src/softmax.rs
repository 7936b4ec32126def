//! Softmax cross-entropy with label smoothing: loss, gradient, tangent and second-order backward, all in f64.
//!
//! `L = mean over rows of −Σ_k t_k log p_k` with `p = softmax(z)` and `t = (1 − ε) onehot + ε / K` (PyTorch's
//! smoothing).

use super::elem::Elem;
use crate::Accum;
use thiserror::Error;

/// Why a cross-entropy cannot be computed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LabelError {
    /// The number of labels is not the number of rows.
    #[error("cross-entropy: {labels} labels for {rows} rows of logits")]
    Count {
        /// Number of labels given.
        labels: usize,
        /// Number of rows of logits.
        rows: usize,
    },
    /// A label is not below the number of classes.
    #[error("cross-entropy: label {label} of row {row} is not below the number of classes, {classes}")]
    Range {
        /// The label that is too large.
        label: usize,
        /// Row of the label.
        row: usize,
        /// Number of classes.
        classes: usize,
    },
}

/// The loss at one point, with the operands of its derivatives.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// The mean loss.
    pub loss: f64,
    /// Probabilities, [rows, classes].
    pub probabilities: Vec<f64>,
    /// The residuals p − t, [rows, classes]: the gradient times the number of rows.
    residuals: Vec<f64>,
    rows: usize,
    classes: usize,
}

impl CrossEntropy {
    /// Evaluates the loss of `logits` [rows, `classes`].
    ///
    /// # Errors
    /// [`LabelError`] when labels are too few, too many or too large.
    pub fn new<E: Elem>(
        logits: &[E],
        classes: usize,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Self, LabelError> {
        let rows = logits.len().checked_div(classes).unwrap_or(0);
        if rows == 0 || labels.len() != rows || logits.len() != rows * classes {
            return Err(LabelError::Count { labels: labels.len(), rows });
        }
        if let Some((row, &label)) = labels.iter().enumerate().find(|(_, l)| **l >= classes) {
            return Err(LabelError::Range { label, row, classes });
        }
        let uniform = smoothing / classes as f64;
        let mut loss = 0.0;
        let mut probabilities = Vec::with_capacity(logits.len());
        let mut residuals = Vec::with_capacity(logits.len());
        for (z, &label) in logits.chunks(classes).zip(labels) {
            // f64::max hides a NaN, but exp and the sums below bring it back.
            let top = z.iter().fold(f64::NEG_INFINITY, |m, z| m.max(z.wide()));
            let total: f64 = z.iter().map(|z| (z.wide() - top).exp()).sum();
            let log_total = top + total.ln();
            for (k, z) in z.iter().enumerate() {
                let log_p = z.wide() - log_total;
                let t = uniform + if k == label { 1.0 - smoothing } else { 0.0 };
                if t != 0.0 {
                    loss -= t * log_p;
                }
                probabilities.push(log_p.exp());
                residuals.push(log_p.exp() - t);
            }
        }
        Ok(CrossEntropy { loss: loss / rows as f64, probabilities, residuals, rows, classes })
    }

    /// Computes `gz = upstream · dL/dz`, or adds it to gz.
    pub fn gradient<E: Elem>(&self, upstream: f64, gz: &mut [E], accum: Accum) {
        assert_eq!(gz.len(), self.residuals.len());
        let scale = upstream / self.rows as f64;
        for (g, r) in gz.iter_mut().zip(&self.residuals) {
            *g = E::of(if accum.adds() { g.wide() } else { 0.0 } + scale * r);
        }
    }

    /// Computes the tangent of the loss along `zt`.
    pub fn tangent<E: Elem>(&self, zt: &[E]) -> f64 {
        assert_eq!(zt.len(), self.residuals.len());
        zt.iter().zip(&self.residuals).map(|(t, r)| t.wide() * r).sum::<f64>() / self.rows as f64
    }

    /// Computes the gradient in z of `a · (tangent along zt) + b · L`, which is `a/n p ⊙ (zt − ⟨p, zt⟩) + b/n (p − t)`,
    /// or adds it to gz.
    pub fn second_gradient<E: Elem>(&self, zt: &[E], a: f64, b: f64, gz: &mut [E], accum: Accum) {
        assert!(zt.len() == self.residuals.len() && gz.len() == zt.len());
        let (a, b) = (a / self.rows as f64, b / self.rows as f64);
        let k = self.classes;
        let tables = self.probabilities.chunks(k).zip(self.residuals.chunks(k));
        for ((gz, zt), (p, r)) in gz.chunks_mut(k).zip(zt.chunks(k)).zip(tables) {
            let mean: f64 = p.iter().zip(zt).map(|(p, t)| p * t.wide()).sum();
            for (((g, t), p), r) in gz.iter_mut().zip(zt).zip(p).zip(r) {
                *g = E::of(if accum.adds() { g.wide() } else { 0.0 } + a * p * (t.wide() - mean) + b * r);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::dot;
    use crate::testing::{max_abs_diff, noise};

    const LABELS: [usize; 4] = [2, 0, 4, 2];

    fn at(z: &[f64], smoothing: f64) -> CrossEntropy {
        CrossEntropy::new(z, 5, &LABELS, smoothing).expect("valid labels")
    }

    #[test]
    fn the_loss_of_equal_logits_is_the_log_of_the_number_of_classes() {
        for smoothing in [0.0, 0.1] {
            assert!((at(&[3.0; 20], smoothing).loss - 5.0_f64.ln()).abs() < 1e-15);
        }
    }

    #[test]
    fn huge_logits_stay_finite_and_nan_stays_visible() {
        assert!((at(&[1e4; 20], 0.1).loss - 5.0_f64.ln()).abs() < 1e-10);
        let sure = CrossEntropy::new(&[1e4_f32, -1e4], 2, &[0], 0.0).expect("valid");
        assert_eq!(sure.loss, 0.0);
        assert!(CrossEntropy::new(&[f32::NAN, 0.0], 2, &[1], 0.0).expect("valid").loss.is_nan());
    }

    /// Central differences with step 1e-5: truncation and rounding are near 1e-11.
    #[test]
    fn derivatives_match_central_differences() {
        let (z, zt) = (noise::<f64>(20, 1), noise::<f64>(20, 2));
        for smoothing in [0.0, 0.1] {
            let gradient = |z: &[f64]| {
                let mut g = vec![0.0; 20];
                at(z, smoothing).gradient(1.0, &mut g, Accum::Replace);
                g
            };
            let along = |h: f64| z.iter().zip(&zt).map(|(z, t)| z + h * t).collect::<Vec<_>>();
            let here = at(&z, smoothing);
            let slope = (at(&along(1e-5), smoothing).loss - at(&along(-1e-5), smoothing).loss) / 2e-5;
            assert!((here.tangent(&zt) - slope).abs() < 1e-9);
            assert!((here.tangent(&zt) - dot(&gradient(&z), &zt)).abs() < 1e-15);
            let want: Vec<f64> = gradient(&along(1e-5))
                .iter()
                .zip(gradient(&along(-1e-5)))
                .zip(gradient(&z))
                .map(|((p, m), g)| 2.0 * (p - m) / 2e-5 - 3.0 * g + 1.0)
                .collect();
            let mut got = vec![1.0; 20];
            here.second_gradient(&zt, 2.0, -3.0, &mut got, Accum::Add);
            assert!(max_abs_diff(&got, &want) < 1e-9);
        }
    }

    #[test]
    fn bad_labels_are_named() {
        let z = [0.0_f32; 6];
        assert_eq!(CrossEntropy::new(&z, 3, &[0], 0.0), Err(LabelError::Count { labels: 1, rows: 2 }));
        let range = LabelError::Range { label: 3, row: 1, classes: 3 };
        assert_eq!(CrossEntropy::new(&z, 3, &[0, 3], 0.0), Err(range));
    }
}
