//! Fully connected layer.

use crate::{Backend, Context, Init, ParamId, Result, Scope};

/// `x·Wᵀ + b`, `[N, I]` → `[N, O]`. Tensors: `weight` `[O, I]`, `bias` `[O]`; PyTorch's default initialisation.
/// `bias` is left out where asked for.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// Declares the layer.
    pub fn new(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let bound = (input.max(1) as f64).sqrt().recip();
        Self {
            weight: scope.parameter("weight", &[output, input], Init::KaimingUniformDefault),
            bias: Some(scope.parameter("bias", &[output], Init::Uniform { bound })),
        }
    }
    /// Declares the layer as transformers start it: weights N(0, 0.02²), biases 0. (Published code cuts the normal off
    /// at ±2, a hundred standard deviations away.)
    pub fn normal(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let mut layer = Self::normal_without_bias(scope, input, output);
        layer.bias = Some(scope.parameter("bias", &[output], Init::Constant(0.0)));
        layer
    }
    /// A layer with normal weights and without bias.
    pub fn normal_without_bias(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let weight = scope.parameter("weight", &[output, input], Init::Normal { std: 0.02 });
        Self { weight, bias: None }
    }
    /// Runs the layer.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        cx.backend.linear(x, cx.param(self.weight), self.bias.map(|bias| cx.param(bias)))
    }
}
