//! Layer normalisation of rows.

use crate::{Backend, Context, Init, ParamId, Result, Scope};

/// Layer normalisation: each row of `[…, D]` is normalised by its own mean and biased variance, then scaled and
/// shifted. Tensors: `weight`, `bias`, both `[D]`; they start at 1 and 0.
///
/// # References
/// Ba, Kiros and Hinton, arXiv:1607.06450.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: ParamId,
    bias: ParamId,
    eps: f64,
}

impl LayerNorm {
    /// Declares a layer for rows of `width` elements; `eps` is added to the variance.
    pub fn new(scope: &mut Scope<'_>, width: usize, eps: f64) -> Self {
        Self {
            weight: scope.parameter("weight", &[width], Init::Constant(1.0)),
            bias: scope.parameter("bias", &[width], Init::Constant(0.0)),
            eps,
        }
    }
    /// Applies the layer to x `[…, D]`.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        cx.backend.layer_norm(x, cx.param(self.weight), cx.param(self.bias), self.eps)
    }
}
