//! Batch normalisation with explicit running statistics.

use crate::{
    Backend, BatchStats, BufferId, Context, Error, Fused, Init, Mode, ParamId, Result, Scope, Unary,
};

/// Batch normalisation of `[N, C, H, W]` per channel. Tensors: `weight`, `bias`, `running_mean`, `running_var`, all
/// `[C]`.
///
/// Train mode normalises by the statistics of the batch (biased variance; derivatives flow through them) and reports
/// these to the context. Eval mode uses the running statistics as constants. A layer whose weight is
/// [frozen](crate::Frozen) does so in every mode. Where the context names ranks ([`Context::with_ranks`]), batch
/// statistics are those of the batch that the ranks share. eps 1e-5, momentum 0.1, as in PyTorch.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    name: String,
    weight: ParamId,
    bias: ParamId,
    running_mean: BufferId,
    running_var: BufferId,
    eps: f64,
    momentum: f64,
}

impl BatchNorm2d {
    /// Declares the layer, weight 1 and bias 0.
    pub fn new(scope: &mut Scope<'_>, channels: usize) -> Self {
        Self {
            name: scope.prefix().to_owned(),
            weight: scope.parameter("weight", &[channels], Init::Constant(1.0)),
            bias: scope.parameter("bias", &[channels], Init::Constant(0.0)),
            running_mean: scope.buffer("running_mean", &[channels], 0.0),
            running_var: scope.buffer("running_var", &[channels], 1.0),
            eps: 1e-5,
            momentum: 0.1,
        }
    }
    /// Sets ε, the constant added to the variance; default 1e-5.
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
    /// Sets the momentum m in running ← (1−m)·running + m·batch; default 0.1.
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }
    /// Normalises x, scales and shifts.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.forward_fused(cx, x, Fused::default())
    }
    /// Normalises x, scales and shifts, then applies ReLU.
    ///
    /// # Errors
    /// Shape mismatches.
    pub fn forward_relu<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.forward_fused(cx, x, Fused { residual: None, activation: Some(Unary::Relu) })
    }
    /// Normalises, adds a residual if there is one, applies an activation if asked for.
    ///
    /// # Errors
    /// Shape mismatches; in train mode a single value a channel (one sample with maps of 1×1), because every single
    /// value is normalised to 0.
    pub fn forward_fused<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        let (scale, shift) = (cx.param(self.weight), cx.param(self.bias));
        match cx.norm_mode(self.weight) {
            Mode::Train => {
                let shape = cx.backend.shape(x);
                let own = shape.iter().product::<usize>() / shape.get(1).copied().unwrap_or(1).max(1);
                let count = match cx.across() {
                    Some(across) => own / shape.first().copied().unwrap_or(1).max(1) * across.examples(),
                    None => own,
                };
                if count == 1 {
                    return Err(self.single_value(shape));
                }
                let (y, stats) = match cx.across() {
                    Some(across) => {
                        let affine = [scale, shift];
                        cx.backend.batch_norm_over_ranks(x, affine, self.eps, fused, across)?
                    }
                    None => cx.backend.batch_norm(x, scale, shift, self.eps, fused)?,
                };
                cx.collect(self.running_mean, self.running_var, stats, count, self.momentum);
                Ok(y)
            }
            Mode::Eval => {
                let stats = BatchStats {
                    mean: cx.buffer(self.running_mean).clone(),
                    var: cx.buffer(self.running_var).clone(),
                };
                cx.backend.batch_norm_eval(x, scale, shift, &stats, self.eps, fused)
            }
        }
    }

    fn single_value(&self, shape: &[usize]) -> Error {
        Error::Invalid(format!(
            "batch normalisation `{}` has one value a channel (shape {shape:?}), and in train mode it needs two or more: \
             take more samples at a time or larger images, or freeze the layer",
            self.name
        ))
    }
}
