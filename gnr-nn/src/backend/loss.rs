//! Cross-entropy of logits against labels.

use super::{Arithmetic, Duals, arithmetic::Unary};
use crate::{Dual, Error, Result};

/// The loss with its derivatives; by default composed of primitives.
pub trait Loss: Arithmetic {
    /// The mean cross-entropy of logits `[N, K]` with the targets (1−s)·onehot + s/K of the labels; shape `[1, 1]`.
    /// `smoothing` is s.
    fn cross_entropy(&self, logits: &Self::Tensor, labels: &[usize], smoothing: f64) -> Result<Self::Tensor> {
        cross_entropy(self, logits, labels, smoothing)
    }
    /// The loss [`cross_entropy`](Self::cross_entropy) on dual numbers.
    fn cross_entropy_dual(
        &self,
        logits: &Dual<Self::Tensor>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Dual<Self::Tensor>> {
        cross_entropy(&Duals(self.clone()), logits, labels, smoothing)
    }
}

impl<B: Loss> Loss for Duals<B> {
    fn cross_entropy(&self, logits: &Self::Tensor, labels: &[usize], smoothing: f64) -> Result<Self::Tensor> {
        self.0.cross_entropy_dual(logits, labels, smoothing)
    }
}

/// The logarithm of softmax over the last axis, shifted by the row's maximum so that it cannot overflow.
///
/// # Errors
/// The errors of the primitives.
pub fn log_softmax<B: Arithmetic>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let shape = b.shape(x).to_vec();
    let last = shape.len().saturating_sub(1);
    let centred = b.sub(x, &b.broadcast(&b.max_last(x)?, &shape)?)?;
    let lse = b.unary(Unary::Ln, &b.sum(&b.unary(Unary::Exp, &centred)?, &[last])?)?;
    b.sub(&centred, &b.broadcast(&lse, &shape)?)
}

/// Checks logits `[N, K]` against labels and returns N and K. Every implementation of the loss starts with this.
///
/// # Errors
/// A wrong shape, a wrong number of labels, or a label that is not below K.
pub fn check_labels(shape: &[usize], labels: &[usize]) -> Result<(usize, usize)> {
    let &[n, classes] = shape else {
        return Err(Error::InvalidShape {
            op: "cross_entropy",
            expected: "logits [N, K]".into(),
            found: shape.to_vec(),
        });
    };
    if n == 0 || labels.len() != n {
        return Err(Error::Invalid(format!(
            "cross_entropy: {} labels for logits of {n} samples",
            labels.len()
        )));
    }
    match labels.iter().position(|&label| label >= classes) {
        Some(index) => Err(Error::LabelOutOfRange { index, label: labels[index], classes }),
        None => Ok((n, classes)),
    }
}

/// Composes [`Loss::cross_entropy`] of primitives.
///
/// # Errors
/// The errors of [`check_labels`].
pub fn cross_entropy<B: Arithmetic>(
    b: &B,
    logits: &B::Tensor,
    labels: &[usize],
    smoothing: f64,
) -> Result<B::Tensor> {
    let shape = b.shape(logits).to_vec();
    let (n, k) = check_labels(&shape, labels)?;
    let mut targets = vec![smoothing / k as f64; n * k];
    for (i, &label) in labels.iter().enumerate() {
        targets[i * k + label] += 1.0 - smoothing;
    }
    let weighted = b.mul(&log_softmax(b, logits)?, &b.constant(&targets, &shape)?)?;
    b.affine(&b.sum(&weighted, &[0, 1])?, -1.0 / n as f64, 0.0)
}

/// Multiplies v with the Hessian of the mean cross-entropy in the logits `[N, K]`; v has their shape. By rows the
/// product is (p⊙v − p·⟨p, v⟩)/N with p the softmax. It does not depend on labels or label smoothing.
///
/// # Errors
/// Shape mismatches.
pub fn cross_entropy_hessian<B: Arithmetic>(b: &B, logits: &B::Tensor, v: &B::Tensor) -> Result<B::Tensor> {
    let shape = b.shape(logits).to_vec();
    let &[n, _] = &shape[..] else {
        let (op, expected) = ("cross_entropy_hessian", "logits [N, K]".into());
        return Err(Error::InvalidShape { op, expected, found: shape });
    };
    let p = b.unary(Unary::Exp, &log_softmax(b, logits)?)?;
    let pv = b.mul(&p, v)?;
    let mean = b.broadcast(&b.sum(&pv, &[1])?, &shape)?;
    b.affine(&b.sub(&pv, &b.mul(&p, &mean)?)?, 1.0 / n as f64, 0.0)
}
