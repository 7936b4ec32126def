//! The operations a tensor library must offer, and the ones it gets for free.

use crate::{AcrossRanks, Dual, Result, composed, ranks::unsupported};

/// Stride, zero padding and groups of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dSpec {
    /// Step between outputs, the same for rows and columns.
    pub stride: usize,
    /// Zeros added around the image.
    pub padding: Padding,
    /// Number of independent groups of channels.
    pub groups: usize,
}

/// Zeros around the image of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// This many on every side.
    Each(usize),
    /// TensorFlow's `SAME`: as many as ⌈length/stride⌉ outputs need along each axis; where that is odd, the one more
    /// comes last (at the bottom or the right).
    Same,
}

impl Padding {
    /// Zeros before and after an axis of `length` under windows of `window` every `stride`.
    pub fn around(self, length: usize, window: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Each(padding) => [padding; 2],
            Self::Same => {
                let last = length.div_ceil(stride.max(1)).saturating_sub(1) * stride;
                let total = (last + window).saturating_sub(length);
                [total / 2, total - total / 2]
            }
        }
    }
}

impl From<usize> for Padding {
    fn from(padding: usize) -> Self {
        Self::Each(padding)
    }
}

/// Window, stride and padding of a 2-D pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Side of the square window.
    pub window: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Padding on every side: −∞ for a maximum, zeros (counted) for an average, as in PyTorch.
    pub padding: usize,
}

/// Elementwise functions. Each has a derivative in terms of the others, so dual numbers need nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// max(x, 0); derivative 0 at 0, as in PyTorch.
    Relu,
    /// 1 where x > 0, else 0. Its derivative is taken as zero everywhere; never differentiated.
    Step,
    /// eˣ.
    Exp,
    /// ln x.
    Ln,
    /// tanh x.
    Tanh,
    /// 1/√x.
    Rsqrt,
    /// 1/x.
    Recip,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// x/(1 + e⁻ˣ), also called swish.
    Silu,
    /// min(max(x, 0), 6); derivative 0 at 0 and at 6, as in PyTorch.
    Relu6,
    /// Φ(x) = (1 + erf(x/√2))/2, the standard normal distribution function.
    NormalCdf,
    /// x·Φ(x), the exact GELU.
    Gelu,
}

/// What a batch or group normalisation does after normalising, so that a backend can make one pass of it.
#[derive(Debug)]
pub struct Fused<'t, T> {
    /// Added after the affine map (the shortcut of a residual block).
    pub residual: Option<&'t T>,
    /// Applied last: ReLU, ReLU6, SiLU, or any other.
    pub activation: Option<Unary>,
}

impl<T> Clone for Fused<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Fused<'_, T> {}

impl<T> Default for Fused<'_, T> {
    fn default() -> Self {
        Self { residual: None, activation: None }
    }
}

/// Batch statistics per channel, detached, shape `[C]`.
#[derive(Clone, Debug)]
pub struct BatchStats<T> {
    /// Mean over batch and space.
    pub mean: T,
    /// Biased variance over batch and space.
    pub var: T,
}

/// Eager operations on immutable tensors of dynamic shape; images are `[N, C, H, W]`.
///
/// The first group is what every backend writes. The second is provided: written once in primitives in [`composed`],
/// and a backend overrides an operation with a fused kernel where profiling says so. The `*_dual` group is the same on
/// dual numbers: by default the composition on [`Duals`](crate::Duals), whose tangent *is* the exact derivative. An
/// override is a pure speed-up and the composition stays its test oracle.
pub trait Backend: Clone {
    /// A tensor; cloning shares the data.
    type Tensor: Clone;

    /// A constant from row-major host data.
    ///
    /// # Errors
    /// When the number of elements is not the product of `shape`.
    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Self::Tensor>;
    /// The shape.
    fn shape<'t>(&self, x: &'t Self::Tensor) -> &'t [usize];
    /// A tensor of equal values without history.
    fn detach(&self, x: &Self::Tensor) -> Self::Tensor;
    /// `a + b`, equal shapes.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// `a ⊙ b`, equal shapes.
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// `a·x + b`.
    fn affine(&self, x: &Self::Tensor, a: f64, b: f64) -> Result<Self::Tensor>;
    /// An elementwise function.
    fn unary(&self, op: Unary, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// `[M, K]·[K, N]`, or `[B, M, K]·[B, K, N]`.
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Sum over `axes`, which stay as 1.
    fn sum(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;
    /// Repeats axes of length 1 to the given shape of equal rank.
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    /// A tensor of x's elements in row-major order, with another shape.
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    /// Axis `i` of the result is axis `axes[i]` of `x`.
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;
    /// Along `axis`, element `j` of the result is element `indices[j]` of `x`, or 0 for `None`: slices, strides, zero
    /// padding, shifts, windows and table look-ups are all this one linear map; indices may repeat.
    fn gather(&self, x: &Self::Tensor, axis: usize, indices: &[Option<usize>]) -> Result<Self::Tensor>;
    /// Maximum over the last axis, which stays as 1; detached.
    fn max_last(&self, x: &Self::Tensor) -> Result<Self::Tensor>;

    /// Σ wᵣ·xᵣ over the ranks that share the batch, wᵣ their shares of it. L̂ = Σ wᵣ·L̂ᵣ, and a reverse pass on each
    /// rank holds the derivatives of L̂ divided by the rank's weight: in these, the operation is its own transpose.
    ///
    /// # Errors
    /// The errors of the collective; a backend that cannot.
    fn mean_over_ranks(&self, _x: &Self::Tensor, _across: &AcrossRanks) -> Result<Self::Tensor> {
        unsupported()
    }

    // ------------------------------------------------------------------------------------------------------ provided

    /// `a − b`.
    fn sub(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.add(a, &self.affine(b, -1.0, 0.0)?)
    }
    /// max(x, 0).
    fn relu(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.unary(Unary::Relu, x)
    }
    /// `x·Wᵀ + b`: x `[N, I]`, w `[O, I]`, b `[O]`.
    fn linear(&self, x: &Self::Tensor, w: &Self::Tensor, b: Option<&Self::Tensor>) -> Result<Self::Tensor> {
        composed::linear(self, x, w, b)
    }
    /// Cross-correlation: x `[N, C, H, W]`, w `[O, C/groups, K, K]` → `[N, O, H', W']`, no bias.
    fn conv2d(&self, x: &Self::Tensor, w: &Self::Tensor, spec: Conv2dSpec) -> Result<Self::Tensor> {
        composed::conv2d(self, x, w, spec)
    }
    /// Adds `b[c]` to channel c: x `[N, C, …]`, b `[C]`.
    fn bias_add(&self, x: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        composed::bias_add(self, x, b)
    }
    /// Normalises each channel of `[N, C, H, W]` by the statistics of the batch, then scale, shift, residual,
    /// activation. Derivatives flow through the statistics.
    fn batch_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        composed::batch_norm(self, x, scale, shift, eps, fused)
    }
    /// Normalises each channel by given statistics (`stats` is a constant), then scale, shift, residual, activation.
    fn batch_norm_eval(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        stats: &BatchStats<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        composed::batch_norm_eval(self, x, scale, shift, stats, eps, fused)
    }
    /// Largest element of each window; the first one where several are equal.
    fn max_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        composed::max_pool2d(self, x, spec)
    }
    /// Mean of each window.
    fn avg_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        composed::avg_pool2d(self, x, spec)
    }
    /// Mean over space: `[N, C, H, W]` → `[N, C]`.
    fn global_avg_pool(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        composed::global_avg_pool(self, x)
    }
    /// Multiplies each channel of each sample by its own factor: x `[N, C, H, W]`, s `[N, C]`.
    fn scale_channels(&self, x: &Self::Tensor, s: &Self::Tensor) -> Result<Self::Tensor> {
        composed::scale_channels(self, x, s)
    }
    /// Normalises each row (the last axis, `[D]`) by its own mean and biased variance, then scale and shift, both
    /// `[D]`.
    fn layer_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
    ) -> Result<Self::Tensor> {
        composed::layer_norm(self, x, scale, shift, eps)
    }
    /// Normalises each of `groups` groups of consecutive channels of each sample of `[N, C, H, W]` by its own mean and
    /// biased variance, then scale, shift (both `[C]`), residual, activation. Derivatives flow through the statistics.
    fn group_norm(
        &self,
        x: &Self::Tensor,
        groups: usize,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        composed::group_norm(self, x, groups, scale, shift, eps, fused)
    }
    /// Scaled dot-product attention of every head: qkv `[N, T, 3·D]` holds queries, keys and values, each head-major, →
    /// `[N, T, D]`. Scores are q·k/√(D/heads); `bias` `[G, heads, T, T]` is added to those of sample n as its n mod G.
    fn attention(
        &self,
        qkv: &Self::Tensor,
        heads: usize,
        bias: Option<&Self::Tensor>,
    ) -> Result<Self::Tensor> {
        composed::attention(self, qkv, heads, bias)
    }
    /// Mean cross-entropy of logits `[N, K]` against labels, targets (1−s)·onehot + s/K; shape `[1, 1]`.
    fn cross_entropy(&self, logits: &Self::Tensor, labels: &[usize], smoothing: f64) -> Result<Self::Tensor> {
        composed::cross_entropy(self, logits, labels, smoothing)
    }

    // --------------------------------------------------------------------------------- the same on dual numbers

    /// [`mul`](Self::mul) on dual numbers.
    fn mul_dual(&self, a: Dual<&Self::Tensor>, b: Dual<&Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        composed::mul_dual(self, a, b)
    }
    /// [`unary`](Self::unary) on dual numbers.
    fn unary_dual(&self, op: Unary, x: Dual<&Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        composed::unary_dual(self, op, x)
    }
    /// [`matmul`](Self::matmul) on dual numbers.
    fn matmul_dual(&self, a: Dual<&Self::Tensor>, b: Dual<&Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        composed::matmul_dual(self, a, b)
    }
    /// [`linear`](Self::linear) on dual numbers.
    fn linear_dual(
        &self,
        x: Dual<&Self::Tensor>,
        w: Dual<&Self::Tensor>,
        b: Option<Dual<&Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        composed::linear(&crate::Duals(self.clone()), &x.cloned(), &w.cloned(), b.map(Dual::cloned).as_ref())
    }
    /// [`conv2d`](Self::conv2d) on dual numbers.
    fn conv2d_dual(
        &self,
        x: Dual<&Self::Tensor>,
        w: Dual<&Self::Tensor>,
        spec: Conv2dSpec,
    ) -> Result<Dual<Self::Tensor>> {
        composed::conv2d_dual(self, x, w, spec)
    }
    /// [`batch_norm`](Self::batch_norm) on dual numbers.
    #[allow(clippy::type_complexity)]
    fn batch_norm_dual(
        &self,
        x: Dual<&Self::Tensor>,
        scale: Dual<&Self::Tensor>,
        shift: Dual<&Self::Tensor>,
        eps: f64,
        residual: Option<Dual<&Self::Tensor>>,
        activation: Option<Unary>,
    ) -> Result<(Dual<Self::Tensor>, BatchStats<Dual<Self::Tensor>>)> {
        let residual = residual.map(Dual::cloned);
        let fused = Fused { residual: residual.as_ref(), activation };
        composed::batch_norm(
            &crate::Duals(self.clone()),
            &x.cloned(),
            &scale.cloned(),
            &shift.cloned(),
            eps,
            fused,
        )
    }
    /// [`batch_norm_eval`](Self::batch_norm_eval) on dual numbers.
    #[allow(clippy::too_many_arguments)]
    fn batch_norm_eval_dual(
        &self,
        x: Dual<&Self::Tensor>,
        scale: Dual<&Self::Tensor>,
        shift: Dual<&Self::Tensor>,
        stats: &BatchStats<Self::Tensor>,
        eps: f64,
        residual: Option<Dual<&Self::Tensor>>,
        activation: Option<Unary>,
    ) -> Result<Dual<Self::Tensor>> {
        let residual = residual.map(Dual::cloned);
        let fused = Fused { residual: residual.as_ref(), activation };
        let stats =
            BatchStats { mean: Dual::constant(stats.mean.clone()), var: Dual::constant(stats.var.clone()) };
        let duals = crate::Duals(self.clone());
        composed::batch_norm_eval(&duals, &x.cloned(), &scale.cloned(), &shift.cloned(), &stats, eps, fused)
    }
    /// [`max_pool2d`](Self::max_pool2d) on dual numbers.
    fn max_pool2d_dual(&self, x: Dual<&Self::Tensor>, spec: PoolSpec) -> Result<Dual<Self::Tensor>> {
        composed::max_pool2d(&crate::Duals(self.clone()), &x.cloned(), spec)
    }
    /// [`scale_channels`](Self::scale_channels) on dual numbers.
    fn scale_channels_dual(
        &self,
        x: Dual<&Self::Tensor>,
        s: Dual<&Self::Tensor>,
    ) -> Result<Dual<Self::Tensor>> {
        composed::scale_channels_dual(self, x, s)
    }
    /// [`layer_norm`](Self::layer_norm) on dual numbers.
    fn layer_norm_dual(
        &self,
        x: Dual<&Self::Tensor>,
        scale: Dual<&Self::Tensor>,
        shift: Dual<&Self::Tensor>,
        eps: f64,
    ) -> Result<Dual<Self::Tensor>> {
        composed::layer_norm(&crate::Duals(self.clone()), &x.cloned(), &scale.cloned(), &shift.cloned(), eps)
    }
    /// [`group_norm`](Self::group_norm) on dual numbers.
    #[allow(clippy::too_many_arguments)]
    fn group_norm_dual(
        &self,
        x: Dual<&Self::Tensor>,
        groups: usize,
        scale: Dual<&Self::Tensor>,
        shift: Dual<&Self::Tensor>,
        eps: f64,
        residual: Option<Dual<&Self::Tensor>>,
        activation: Option<Unary>,
    ) -> Result<Dual<Self::Tensor>> {
        let residual = residual.map(Dual::cloned);
        let fused = Fused { residual: residual.as_ref(), activation };
        let duals = crate::Duals(self.clone());
        composed::group_norm(&duals, &x.cloned(), groups, &scale.cloned(), &shift.cloned(), eps, fused)
    }
    /// [`attention`](Self::attention) on dual numbers.
    fn attention_dual(
        &self,
        qkv: Dual<&Self::Tensor>,
        heads: usize,
        bias: Option<Dual<&Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        let bias = bias.map(Dual::cloned);
        composed::attention(&crate::Duals(self.clone()), &qkv.cloned(), heads, bias.as_ref())
    }
    /// [`cross_entropy`](Self::cross_entropy) on dual numbers.
    fn cross_entropy_dual(
        &self,
        logits: Dual<&Self::Tensor>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Dual<Self::Tensor>> {
        composed::cross_entropy(&crate::Duals(self.clone()), &logits.cloned(), labels, smoothing)
    }
}
