//! Batch, layer and group normalisation.

use super::{
    Arithmetic, Duals, Linear,
    arithmetic::{Unary, image_shape, mean},
    group_norm::group_norm,
    linear::broadcast_channels,
};
use crate::{AcrossRanks, Dual, Error, Result};

/// The operations that follow a batch or group normalisation, given with it so that a backend can fuse all of them into
/// one pass.
#[derive(Debug)]
pub struct Fused<'t, T> {
    /// The tensor added after the affine map, such as the shortcut of a residual block.
    pub residual: Option<&'t T>,
    /// The function applied last: ReLU, ReLU6, SiLU, or any other.
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

/// Normalisations with their derivatives, which flow through the statistics. Each has a default in [`Linear`].
pub trait Normalisation: Linear {
    /// Normalises each channel of `[N, C, H, W]` by the statistics of the batch, then applies scale, shift, residual
    /// and activation.
    fn batch_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        batch_norm(self, x, scale, shift, eps, fused)
    }
    /// Normalises as [`batch_norm`](Self::batch_norm) does, by the statistics of the whole batch that the ranks share.
    /// Derivatives flow through the statistics to all ranks. `affine` is scale and shift.
    ///
    /// # Errors
    /// Shape mismatches; a rank that is gone; a backend that cannot exchange numbers with other ranks.
    ///
    /// # Cost
    /// Composed: two exchanges of `[C]` numbers in the forward pass, and two in the reverse pass. Fused in a backend:
    /// one in each of them, and likewise in the two passes of a Hessian-vector product. A mean of more than 4096
    /// numbers takes two exchanges ([`Collective::mean`](gnr_core::Collective::mean)).
    fn batch_norm_over_ranks(
        &self,
        x: &Self::Tensor,
        affine: [&Self::Tensor; 2],
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
        across: &AcrossRanks,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        batch_norm_over_ranks(self, x, affine, eps, fused, across)
    }
    /// Normalises each channel by given statistics (`stats` is a constant), then applies scale, shift, residual and
    /// activation.
    fn batch_norm_eval(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        stats: &BatchStats<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        batch_norm_eval(self, x, scale, shift, stats, eps, fused)
    }
    /// Normalises each row (the last axis, `[D]`) by its own mean and biased variance, then applies scale and shift,
    /// both `[D]`.
    fn layer_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
    ) -> Result<Self::Tensor> {
        layer_norm(self, x, scale, shift, eps)
    }
    /// Normalises each of `groups` groups of consecutive channels of each sample of `[N, C, H, W]` by its own mean and
    /// biased variance. Then applies scale, shift (both `[C]`), residual and activation.
    fn group_norm(
        &self,
        x: &Self::Tensor,
        groups: usize,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        group_norm(self, x, groups, scale, shift, eps, fused)
    }
    /// [`batch_norm`](Self::batch_norm) on dual numbers.
    #[allow(clippy::type_complexity)]
    fn batch_norm_dual(
        &self,
        x: &Dual<Self::Tensor>,
        scale: &Dual<Self::Tensor>,
        shift: &Dual<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Dual<Self::Tensor>>,
    ) -> Result<(Dual<Self::Tensor>, BatchStats<Dual<Self::Tensor>>)> {
        batch_norm(&Duals(self.clone()), x, scale, shift, eps, fused)
    }
    /// [`batch_norm_over_ranks`](Self::batch_norm_over_ranks) on dual numbers.
    #[allow(clippy::type_complexity)]
    fn batch_norm_over_ranks_dual(
        &self,
        x: &Dual<Self::Tensor>,
        affine: [&Dual<Self::Tensor>; 2],
        eps: f64,
        fused: Fused<'_, Dual<Self::Tensor>>,
        across: &AcrossRanks,
    ) -> Result<(Dual<Self::Tensor>, BatchStats<Dual<Self::Tensor>>)> {
        batch_norm_over_ranks(&Duals(self.clone()), x, affine, eps, fused, across)
    }
    /// [`batch_norm_eval`](Self::batch_norm_eval) on dual numbers.
    fn batch_norm_eval_dual(
        &self,
        x: &Dual<Self::Tensor>,
        scale: &Dual<Self::Tensor>,
        shift: &Dual<Self::Tensor>,
        stats: &BatchStats<Dual<Self::Tensor>>,
        eps: f64,
        fused: Fused<'_, Dual<Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        batch_norm_eval(&Duals(self.clone()), x, scale, shift, stats, eps, fused)
    }
    /// [`layer_norm`](Self::layer_norm) on dual numbers.
    fn layer_norm_dual(
        &self,
        x: &Dual<Self::Tensor>,
        scale: &Dual<Self::Tensor>,
        shift: &Dual<Self::Tensor>,
        eps: f64,
    ) -> Result<Dual<Self::Tensor>> {
        layer_norm(&Duals(self.clone()), x, scale, shift, eps)
    }
    /// [`group_norm`](Self::group_norm) on dual numbers.
    fn group_norm_dual(
        &self,
        x: &Dual<Self::Tensor>,
        groups: usize,
        scale: &Dual<Self::Tensor>,
        shift: &Dual<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Dual<Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        group_norm(&Duals(self.clone()), x, groups, scale, shift, eps, fused)
    }
}

impl<B: Normalisation> Normalisation for Duals<B> {
    fn batch_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        self.0.batch_norm_dual(x, scale, shift, eps, fused)
    }
    fn batch_norm_over_ranks(
        &self,
        x: &Self::Tensor,
        affine: [&Self::Tensor; 2],
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
        across: &AcrossRanks,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        self.0.batch_norm_over_ranks_dual(x, affine, eps, fused, across)
    }
    fn batch_norm_eval(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        stats: &BatchStats<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        self.0.batch_norm_eval_dual(x, scale, shift, stats, eps, fused)
    }
    fn layer_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
    ) -> Result<Self::Tensor> {
        self.0.layer_norm_dual(x, scale, shift, eps)
    }
    fn group_norm(
        &self,
        x: &Self::Tensor,
        groups: usize,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        self.0.group_norm_dual(x, groups, scale, shift, eps, fused)
    }
}

/// Finishes a normalisation: adds the residual, then applies the activation.
///
/// # Errors
/// A residual of another shape.
pub fn finish<B: Arithmetic>(b: &B, y: B::Tensor, fused: Fused<'_, B::Tensor>) -> Result<B::Tensor> {
    let y = match fused.residual {
        Some(residual) => b.add(&y, residual)?,
        None => y,
    };
    match fused.activation {
        Some(activation) => b.unary(activation, &y),
        None => Ok(y),
    }
}

/// See [`Normalisation::batch_norm`].
///
/// # Errors
/// Shape mismatches.
pub fn batch_norm<B: Linear>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    eps: f64,
    fused: Fused<'_, B::Tensor>,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    normalise(b, x, [scale, shift], eps, fused, Ok)
}

/// See [`Normalisation::batch_norm_over_ranks`].
///
/// # Errors
/// Shape mismatches; those of [`Arithmetic::mean_over_ranks`].
pub fn batch_norm_over_ranks<B: Linear>(
    b: &B,
    x: &B::Tensor,
    [scale, shift]: [&B::Tensor; 2],
    eps: f64,
    fused: Fused<'_, B::Tensor>,
    across: &AcrossRanks,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    normalise(b, x, [scale, shift], eps, fused, |mean| b.mean_over_ranks(&mean, across))
}

/// Batch normalisation, where `whole` turns a mean over these images into the mean over the whole batch.
fn normalise<B: Linear>(
    b: &B,
    x: &B::Tensor,
    [scale, shift]: [&B::Tensor; 2],
    eps: f64,
    fused: Fused<'_, B::Tensor>,
    whole: impl Fn(B::Tensor) -> Result<B::Tensor>,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    let shape = image_shape("batch_norm", b.shape(x))?;
    let axes = [0, 2, 3];
    let mu = whole(mean(b, x, &axes)?)?;
    let centred = b.sub(x, &b.broadcast(&mu, &shape)?)?;
    let var = whole(mean(b, &b.mul(&centred, &centred)?, &axes)?)?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&var, 1.0, eps)?)?;
    let normalised = b.mul(&centred, &b.broadcast(&istd, &shape)?)?;
    let scaled = b.mul(&normalised, &broadcast_channels(b, scale, &shape)?)?;
    let y = finish(b, b.bias_add(&scaled, shift)?, fused)?;
    let flat = |t: &B::Tensor| b.reshape(&b.detach(t)?, &[shape[1]]);
    Ok((y, BatchStats { mean: flat(&mu)?, var: flat(&var)? }))
}

/// See [`Normalisation::batch_norm_eval`].
///
/// # Errors
/// Shape mismatches.
pub fn batch_norm_eval<B: Linear>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    stats: &BatchStats<B::Tensor>,
    eps: f64,
    fused: Fused<'_, B::Tensor>,
) -> Result<B::Tensor> {
    let shape = image_shape("batch_norm_eval", b.shape(x))?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&stats.var, 1.0, eps)?)?;
    let factor = b.mul(scale, &istd)?;
    let offset = b.sub(shift, &b.mul(&factor, &stats.mean)?)?;
    let y = b.mul(x, &broadcast_channels(b, &factor, &shape)?)?;
    finish(b, b.bias_add(&y, &offset)?, fused)
}

/// Checks x `[…, D]` against vectors `[D]`; every implementation of the layer norm starts here. Returns rows and D.
///
/// # Errors
/// When a vector has another length, or x has no element.
pub fn check_rows(op: &'static str, x: &[usize], vectors: &[&[usize]]) -> Result<(usize, usize)> {
    let Some((&width, outer)) = x.split_last().filter(|_| !x.contains(&0)) else {
        let expected = "[…, D] with at least one element".into();
        return Err(Error::InvalidShape { op, expected, found: x.to_vec() });
    };
    match vectors.iter().find(|v| **v != [width]) {
        Some(v) => Err(Error::ShapeMismatch { op, lhs: x.to_vec(), rhs: v.to_vec() }),
        None => Ok((outer.iter().product(), width)),
    }
}

/// See [`Normalisation::layer_norm`].
///
/// # Errors
/// Shape mismatches.
pub fn layer_norm<B: Linear>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    eps: f64,
) -> Result<B::Tensor> {
    let shape = b.shape(x).to_vec();
    let (rows, width) = check_rows("layer_norm", &shape, &[b.shape(scale), b.shape(shift)])?;
    let flat = [rows, width];
    let x = b.reshape(x, &flat)?;
    let centred = b.sub(&x, &b.broadcast(&mean(b, &x, &[1])?, &flat)?)?;
    let var = mean(b, &b.mul(&centred, &centred)?, &[1])?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&var, 1.0, eps)?)?;
    let normalised = b.mul(&centred, &b.broadcast(&istd, &flat)?)?;
    let scaled = b.mul(&normalised, &broadcast_channels(b, scale, &flat)?)?;
    b.reshape(&b.bias_add(&scaled, shift)?, &shape)
}
