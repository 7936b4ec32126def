//! Group normalisation: no statistics of the batch, no running statistics.

use crate::{Backend, Context, Fused, Init, ParamId, Result, Scope};

/// Group normalisation of `[N, C, H, W]`. In each sample, each of G groups of C/G consecutive channels is normalised by
/// its own mean and biased variance; then each channel is scaled and shifted. Tensors: `weight`, `bias`, both `[C]`, as
/// of `torch.nn.GroupNorm`; they start at 1 and 0. eps 1e-5.
///
/// With one group this is what Wu & He call layer normalisation of images. Train and eval mode are one function, and a
/// sample's output does not depend on the rest of the batch.
///
/// # References
/// Wu and He, Group Normalization, ECCV 2018, equations 1 to 7.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: ParamId,
    bias: ParamId,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Declares the layer; `groups` must divide `channels`.
    pub fn new(scope: &mut Scope<'_>, groups: usize, channels: usize) -> Self {
        Self {
            weight: scope.parameter("weight", &[channels], Init::Constant(1.0)),
            bias: scope.parameter("bias", &[channels], Init::Constant(0.0)),
            groups,
            eps: 1e-5,
        }
    }
    /// Sets ε, the constant added to the variance; default 1e-5.
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
    /// The default number of groups for `channels` channels: the largest divisor of `channels` that is at most 32 and
    /// leaves at least 4 channels a group. Below 4 channels it is 1.
    ///
    /// # References
    /// 32 groups: Wu and He, ECCV 2018, table 3. At least 4 channels a group in thin nets: Karras et al., Elucidating
    /// the Design Space of Diffusion-Based Generative Models, NeurIPS 2022 (published code).
    pub fn default_groups(channels: usize) -> usize {
        let most = (channels / 4).clamp(1, 32);
        (1..=most).rev().find(|groups| channels.is_multiple_of(*groups)).unwrap_or(1)
    }
    /// Normalises x, scales and shifts.
    ///
    /// # Errors
    /// Shape mismatches, or groups that do not divide the channels.
    pub fn forward<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.forward_fused(cx, x, Fused::default())
    }
    /// Normalises, scales and shifts; then adds the residual and applies the activation that `fused` names, if any.
    ///
    /// # Errors
    /// Shape mismatches, or groups that do not divide the channels.
    pub fn forward_fused<B: Backend>(
        &self,
        cx: &Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        let (scale, shift) = (cx.param(self.weight), cx.param(self.bias));
        cx.backend.group_norm(x, self.groups, scale, shift, self.eps, fused)
    }
}
