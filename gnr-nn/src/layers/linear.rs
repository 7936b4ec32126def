//! Fully connected layers.

use crate::{Backend, Context, Init, ParamId, Result, Scope};

/// A fully connected layer `x·Wᵀ + b`, `[N, I]` → `[N, O]`. Tensors: `weight` `[O, I]`, and optionally `bias` `[O]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// Declares a layer with bias and PyTorch's default initialisation.
    pub fn new(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let bound = (input.max(1) as f64).sqrt().recip();
        Self {
            weight: scope.parameter("weight", &[output, input], Init::KaimingUniformDefault),
            bias: Some(scope.parameter("bias", &[output], Init::Uniform { bound })),
        }
    }
    /// Declares a layer with the initialisation of transformers: weights N(0, 0.02²), biases 0. (Published code cuts
    /// the normal distribution off at ±2, a hundred standard deviations away.)
    pub fn normal(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let mut layer = Self::normal_without_bias(scope, input, output);
        layer.bias = Some(scope.parameter("bias", &[output], Init::Constant(0.0)));
        layer
    }
    /// Declares a layer with weights N(0, 0.02²) and without bias.
    pub fn normal_without_bias(scope: &mut Scope<'_>, input: usize, output: usize) -> Self {
        let weight = scope.parameter("weight", &[output, input], Init::Normal { std: 0.02 });
        Self { weight, bias: None }
    }
    /// Applies the layer to x `[N, I]`.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        cx.backend.linear(x, cx.param(self.weight), self.bias.map(|bias| cx.param(bias)))
    }
}
