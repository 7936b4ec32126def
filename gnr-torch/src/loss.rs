//! The cross-entropy and its dual.

use gnr_nn::{Dual, Loss, Result, composed};
use tch::Tensor;

use crate::tensor::{Torch, TorchTensor};

impl Loss for Torch {
    fn cross_entropy(&self, logits: &TorchTensor, labels: &[usize], smoothing: f64) -> Result<TorchTensor> {
        composed::check_labels(logits.shape(), labels)?;
        let labels = self.labels(labels)?;
        // Labels are not negative, so none of them is the index to ignore, -100.
        let loss = logits
            .t()
            .f_cross_entropy_loss(&labels, None::<&Tensor>, tch::Reduction::Mean, -100, smoothing)
            .and_then(|loss| loss.f_reshape([1_i64, 1].as_slice()));
        self.new_tensor("cross_entropy", &[logits], loss)
    }

    /// ℓ̇ = Σ (p − t)⊙ż/N, p the softmax and t the smoothed targets.
    fn cross_entropy_dual(
        &self,
        logits: &Dual<TorchTensor>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Dual<TorchTensor>> {
        let primal = self.cross_entropy(&logits.primal, labels, smoothing)?;
        let Some(tangent) = &logits.tangent else { return Ok(Dual::constant(primal)) };
        let (n, classes) = composed::check_labels(logits.primal.shape(), labels)?;
        let kind = self.precision.kind();
        let labels = self.labels(labels)?;
        let slope = || {
            let targets = labels.f_one_hot(classes as i64)?.f_to_kind(kind)?;
            let targets = targets
                .f_mul(&self.number(1.0 - smoothing)?)?
                .f_add(&self.number(smoothing / classes as f64)?)?;
            let p = logits.primal.t().f_softmax(1, kind)?;
            let sum = p.f_sub(&targets)?.f_mul(tangent.t())?.f_sum(kind)?;
            sum.f_mul(&self.number(1.0 / n as f64)?)?.f_reshape([1_i64, 1].as_slice())
        };
        let tangent = self.new_tensor("cross_entropy", &[&logits.primal, tangent], slope())?;
        Ok(Dual { primal, tangent: Some(tangent) })
    }
}
