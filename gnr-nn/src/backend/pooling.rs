//! Pooling over square windows, and over whole maps.

use super::{
    Arithmetic, Duals,
    arithmetic::{Unary, add_tangents, image_shape, mean},
    convolution::{Padding, window_indices},
};
use crate::{Dual, Error, Result};

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

/// Pooling with its derivatives; by default a gather of windows and their reduction.
pub trait Pooling: Arithmetic {
    /// The largest element of each window. Where several are equal, the first one takes the gradient.
    fn max_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        max_pool2d(self, x, spec)
    }
    /// The mean of each window.
    fn avg_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        avg_pool2d(self, x, spec)
    }
    /// The mean over space: `[N, C, H, W]` → `[N, C]`.
    fn global_avg_pool(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        global_avg_pool(self, x)
    }
    /// The maximum [`max_pool2d`](Self::max_pool2d) on dual numbers.
    fn max_pool2d_dual(&self, x: &Dual<Self::Tensor>, spec: PoolSpec) -> Result<Dual<Self::Tensor>> {
        max_pool2d(&Duals(self.clone()), x, spec)
    }
}

impl<B: Pooling> Pooling for Duals<B> {
    fn max_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        self.0.max_pool2d_dual(x, spec)
    }
    fn avg_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.avg_pool2d(x, spec))
    }
    fn global_avg_pool(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.global_avg_pool(x))
    }
}

/// The windows of each channel with the window as the last axis, `[N·C·H'·W', K²]`. Also the position from which each
/// element came, and the output's shape.
#[allow(clippy::type_complexity)]
fn windows_last<B: Arithmetic>(
    b: &B,
    op: &'static str,
    x: &B::Tensor,
    spec: PoolSpec,
) -> Result<(B::Tensor, Vec<Option<usize>>, [usize; 4])> {
    let [n, c, h, w] = image_shape(op, b.shape(x))?;
    let (indices, oh, ow) =
        window_indices(op, (h, w), spec.window, spec.stride, Padding::Each(spec.padding))?;
    let kk = spec.window * spec.window;
    let windows = b.gather(&b.reshape(x, &[n, c, h * w])?, 2, &indices)?;
    let windows = b.permute(&b.reshape(&windows, &[n * c, kk, oh * ow])?, &[0, 2, 1])?;
    Ok((b.reshape(&windows, &[n * c * oh * ow, kk])?, indices, [n, c, oh, ow]))
}

/// Composes [`Pooling::max_pool2d`]: Σ over the window of (first maximum's indicator, detached) · x.
///
/// # Errors
/// Shape mismatches, or a window that does not fit.
pub fn max_pool2d<B: Arithmetic>(b: &B, x: &B::Tensor, spec: PoolSpec) -> Result<B::Tensor> {
    if spec.padding * 2 > spec.window {
        return Err(Error::Invalid(format!(
            "max_pool2d: padding {} is more than half of the window {}",
            spec.padding, spec.window
        )));
    }
    let (windows, indices, [n, c, oh, ow]) = windows_last(b, "max_pool2d", x, spec)?;
    let shape = b.shape(&windows).to_vec();
    let kk = shape[1];
    let values = b.detach(&windows)?;
    // Padding must never be the maximum: for the comparison its value is below everything else.
    let values = if indices.iter().any(Option::is_none) {
        let l = oh * ow;
        let mut penalty = vec![0.0; n * c * l * kk];
        for (row, chunk) in penalty.chunks_mut(kk).enumerate() {
            for (j, p) in chunk.iter_mut().enumerate() {
                if indices[j * l + row % l].is_none() {
                    *p = -1e30;
                }
            }
        }
        b.add(&values, &b.constant(&penalty, &shape)?)?
    } else {
        values
    };
    let max = b.max_last(&values)?;
    // 1 − step(max − x) is 1 exactly where x is the maximum. The first such element takes the indicator.
    let mut taken: Option<B::Tensor> = None;
    let mut y: Option<B::Tensor> = None;
    for j in 0..kk {
        let value = b.gather(&values, 1, &[Some(j)])?;
        let below = b.unary(Unary::Step, &b.sub(&max, &value)?)?;
        let is_max = b.affine(&below, -1.0, 1.0)?;
        let pick = match &taken {
            None => is_max,
            Some(taken) => b.mul(&is_max, &b.affine(taken, -1.0, 1.0)?)?,
        };
        let picked = b.mul(&b.detach(&pick)?, &b.gather(&windows, 1, &[Some(j)])?)?;
        y = add_tangents(b, y, Some(picked))?;
        taken = add_tangents(b, taken, Some(pick))?;
    }
    match y {
        Some(y) => b.reshape(&y, &[n, c, oh, ow]),
        None => Err(Error::Invalid("max_pool2d: empty window".into())),
    }
}

/// Composes [`Pooling::avg_pool2d`] of primitives.
///
/// # Errors
/// Shape mismatches, or a window that does not fit.
pub fn avg_pool2d<B: Arithmetic>(b: &B, x: &B::Tensor, spec: PoolSpec) -> Result<B::Tensor> {
    let (windows, _, shape) = windows_last(b, "avg_pool2d", x, spec)?;
    b.reshape(&mean(b, &windows, &[1])?, &shape)
}

/// Composes [`Pooling::global_avg_pool`] of primitives.
///
/// # Errors
/// Shape mismatches.
pub fn global_avg_pool<B: Arithmetic>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let [n, c, ..] = image_shape("global_avg_pool", b.shape(x))?;
    b.reshape(&mean(b, x, &[2, 3])?, &[n, c])
}
