//! Dense layers and their duals.

use gnr_nn::{Arithmetic, Dual, Linear, Result, composed::add_tangents};
use tch::Tensor;

use crate::tensor::{Torch, TorchTensor, mismatch};

impl Torch {
    /// Computes a dense layer, without recording it.
    fn layered(&self, x: &TorchTensor, w: &TorchTensor, bias: Option<&TorchTensor>) -> Result<TorchTensor> {
        let (&[_, inputs], &[outputs, inputs_of_w]) = (x.shape(), w.shape()) else {
            return mismatch("linear", x, w);
        };
        if inputs != inputs_of_w {
            return mismatch("linear", x, w);
        }
        let plain = || self.result(self.operand(x.t())?.f_linear(&self.operand(w.t())?, None::<&Tensor>)?);
        match bias {
            Some(bias) if bias.shape() != [outputs] => mismatch("linear", w, bias),
            Some(bias) => {
                let y = match self.precision.operands() {
                    None => x.t().f_linear(w.t(), Some(bias.t())),
                    // A bias is added in the precision of tensors.
                    Some(_) => plain().and_then(|y| y.f_add(bias.t())),
                };
                self.new_tensor("linear", &[x, w, bias], y)
            }
            None => self.new_tensor("linear", &[x, w], plain()),
        }
    }
}

impl Linear for Torch {
    fn linear(&self, x: &TorchTensor, w: &TorchTensor, bias: Option<&TorchTensor>) -> Result<TorchTensor> {
        self.recorded("linear", || self.layered(x, w, bias))
    }

    /// ẏ = ẋ·Wᵀ + ḃ + x·Ẇᵀ.
    fn linear_dual(
        &self,
        x: &Dual<TorchTensor>,
        w: &Dual<TorchTensor>,
        bias: Option<&Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        let bias_t = bias.and_then(|bias| bias.tangent.as_ref());
        let tangent = || {
            let (left, right) = match (&x.tangent, &w.tangent) {
                (Some(x_t), w_t) => (
                    Some(self.layered(x_t, &w.primal, bias_t)?),
                    w_t.as_ref().map(|w_t| self.layered(&x.primal, w_t, None)).transpose()?,
                ),
                (None, Some(w_t)) => (Some(self.layered(&x.primal, w_t, bias_t)?), None),
                (None, None) => {
                    let shape = [&x.primal, &w.primal].map(|t| t.shape().first().copied().unwrap_or(0));
                    let each = |t: &TorchTensor| self.broadcast(&self.reshape(t, &[1, shape[1]])?, &shape);
                    (bias_t.map(each).transpose()?, None)
                }
            };
            add_tangents(self, left, right)
        };
        let compute = || self.layered(&x.primal, &w.primal, bias.map(|bias| &bias.primal));
        self.recorded_dual("linear", compute, tangent)
    }
}
