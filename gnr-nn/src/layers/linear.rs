//! Fully connected layer.

use crate::{Backend, Context, Init, ParamId, Result, Scope};

/// `x·Wᵀ + b`, `[N, I]` → `[N, O]`. Tensors: `weight` `[O, I]`, `bias` `[O]`; PyTorch's default initialisation.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: ParamId,
}

impl Linear {
    /// Declares the layer.
    pub fn new(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let bound = (input.max(1) as f64).sqrt().recip();
        Self {
            weight: scope.parameter("weight", &[output, input], Init::KaimingUniformDefault),
            bias: scope.parameter("bias", &[output], Init::Uniform { bound }),
        }
    }
    /// Runs the layer.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        cx.backend.linear(x, cx.param(self.weight), Some(cx.param(self.bias)))
    }
}
