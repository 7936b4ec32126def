//! Convolution layers over images.

use crate::{Backend, Context, Conv2dSpec, Init, ParamId, Result, Scope};

/// A cross-correlation with square windows, `[N, C, H, W]` → `[N, O, H', W']`. Tensors: `weight` `[O, C/groups, K, K]`,
/// and optionally `bias` `[O]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: ParamId,
    bias: Option<ParamId>,
    spec: Conv2dSpec,
}

impl Conv2d {
    /// Declares a layer without bias whose weights are He-normal over fan-out, as in torchvision's ResNets. `spec`
    /// gives stride, padding and groups.
    pub fn new(scope: &mut Scope<'_>, input: usize, output: usize, window: usize, spec: Conv2dSpec) -> Self {
        let shape = [output, input / spec.groups.max(1), window, window];
        Self { weight: scope.parameter("weight", &shape, Init::KaimingNormalFanOut), bias: None, spec }
    }
    /// Declares a layer with a bias that starts at 0 and weights N(0, gain²·2/fan_out), for convolutions without a
    /// normalisation behind them.
    pub fn unnormalised(
        scope: &mut Scope<'_>,
        input: usize,
        output: usize,
        window: usize,
        spec: Conv2dSpec,
        gain: f64,
    ) -> Self {
        let shape = [output, input / spec.groups.max(1), window, window];
        let fan_out = (output * window * window).max(1) as f64;
        let weight = scope.parameter("weight", &shape, Init::Normal { std: gain * (2.0 / fan_out).sqrt() });
        Self { weight, bias: Some(scope.parameter("bias", &[output], Init::Constant(0.0))), spec }
    }
    /// Declares a layer with a bias and PyTorch's default initialisation.
    pub fn with_bias(
        scope: &mut Scope<'_>,
        input: usize,
        output: usize,
        window: usize,
        spec: Conv2dSpec,
    ) -> Self {
        let shape = [output, input / spec.groups.max(1), window, window];
        let bound = (shape[1..].iter().product::<usize>() as f64).sqrt().recip();
        let weight = scope.parameter("weight", &shape, Init::KaimingUniformDefault);
        let bias = Some(scope.parameter("bias", &[output], Init::Uniform { bound }));
        Self { weight, bias, spec }
    }
    /// Applies the layer to x `[N, C, H, W]`.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = cx.backend.conv2d(x, cx.param(self.weight), self.spec)?;
        match self.bias {
            Some(bias) => cx.backend.bias_add(&y, cx.param(bias)),
            None => Ok(y),
        }
    }
}
