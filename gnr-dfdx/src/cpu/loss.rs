//! Mean cross-entropy with label smoothing: softmax and loss in f64 whatever the element type.

use std::sync::Arc;

use gnr_nn::{Dual, Duals, Result, composed};

use super::{Cpu, buffer::Buf, kernels::elem::Elem, session::Extra, tensor::Tensor};

/// Targets (1−s)·onehot + s/K.
#[derive(Clone)]
struct Targets {
    labels: Vec<usize>,
    classes: usize,
    smoothing: f64,
}

impl Targets {
    fn at(&self, row: usize, class: usize) -> f64 {
        let hit = if self.labels[row] == class { 1.0 - self.smoothing } else { 0.0 };
        hit + self.smoothing / self.classes as f64
    }
    /// Mean loss and softmax.
    fn evaluate<E: Elem>(&self, logits: &[E]) -> (f64, Buf<f64>) {
        let mut probabilities = Buf::new(logits.len());
        let mut loss = 0.0;
        let rows = logits.chunks(self.classes).zip(probabilities.chunks_mut(self.classes));
        for (row, (z, p)) in rows.enumerate() {
            let max = z.iter().map(|v| v.wide()).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = z.iter().map(|v| (v.wide() - max).exp()).sum();
            let lse = max + total.ln();
            for (class, (p, z)) in p.iter_mut().zip(z).enumerate() {
                let log_p = z.wide() - lse;
                *p = log_p.exp();
                let target = self.at(row, class);
                // 0·(−∞) is no loss.
                if target != 0.0 || log_p.is_nan() {
                    loss -= target * log_p;
                }
            }
        }
        (loss / self.labels.len() as f64, probabilities)
    }
    /// g/N·(p − target), element i.
    fn slope(&self, probabilities: &[f64], i: usize) -> f64 {
        (probabilities[i] - self.at(i / self.classes, i % self.classes)) / self.labels.len() as f64
    }
}

fn fill<E: Elem>(out: &mut [E], accumulate: bool, f: impl Fn(usize) -> f64) {
    for (i, out) in out.iter_mut().enumerate() {
        let before = if accumulate { out.wide() } else { 0.0 };
        *out = E::of(before + f(i));
    }
}

impl<E: Elem> Cpu<E> {
    pub(super) fn cross_entropy_op(
        &self,
        logits: &Tensor<E>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Tensor<E>> {
        let (_, classes) = composed::check_labels(&logits.shape, labels)?;
        let targets = Targets { labels: labels.to_vec(), classes, smoothing };
        let (loss, probabilities) = targets.evaluate(&logits.data);
        let probabilities = Arc::new(probabilities);
        let (to_logits, kept) = (logits.target(), Arc::clone(&probabilities));
        let extra = move || Extra::Probabilities(kept);
        let y = Buf::from(vec![E::of(loss)]);
        self.nonlinear_op("cross_entropy", y, &[1, 1], &[logits], extra, move |_, g, _, adjoints| {
            let factor = g[0].wide();
            adjoints.write(&to_logits, |out, more| {
                fill(out, more, |i| factor * targets.slope(&probabilities, i));
            })?;
            Ok(Some(g))
        })
    }

    pub(super) fn cross_entropy_dual_op(
        &self,
        logits: Dual<&Tensor<E>>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Dual<Tensor<E>>> {
        let (_, classes) = composed::check_labels(&logits.primal.shape, labels)?;
        let Some(replayed) = self.replayed("cross_entropy", &[1, 1], &[logits])? else {
            return composed::cross_entropy(&Duals(self.clone()), &logits.cloned(), labels, smoothing);
        };
        let Extra::Probabilities(p) = replayed.extra() else { return Err(replayed.corrupt()) };
        let p = Arc::clone(p);
        let targets = Targets { labels: labels.to_vec(), classes, smoothing };
        let tangent = logits.tangent.map(|t| {
            let sum = (0..p.len()).map(|i| targets.slope(&p, i) * t.data[i].wide()).sum();
            Buf::from(vec![E::of(sum)])
        });
        // z̄ += b (p − target)/N + a p ∘ (ż − Σ p ż)/N.
        let (to_logits, t) = (logits.primal.target(), logits.tangent.cloned());
        replayed.finish(tangent, move |second, first, adjoints| {
            let b = second.map_or(0.0, |b| b[0].wide());
            let a = first.map_or(0.0, |a| a[0].wide()) / targets.labels.len() as f64;
            let means: Option<Vec<f64>> = t.as_ref().map(|t| {
                let rows = p.chunks(classes).zip(t.data.chunks(classes));
                rows.map(|(p, t)| p.iter().zip(t).map(|(p, t)| p * t.wide()).sum()).collect()
            });
            adjoints.write(&to_logits, |out, more| {
                fill(out, more, |i| {
                    let second_term = match (&t, &means) {
                        (Some(t), Some(means)) => a * p[i] * (t.data[i].wide() - means[i / classes]),
                        _ => 0.0,
                    };
                    b * targets.slope(&p, i) + second_term
                });
            })
        })
    }
}
