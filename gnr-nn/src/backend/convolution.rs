//! Convolution of images, composed of windows and a matrix product.

use super::{
    Arithmetic, Duals,
    arithmetic::{bilinear_dual, image_shape},
};
use crate::{Dual, Error, Result};

/// Stride, zero padding and groups of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dSpec {
    /// Step between outputs, along rows and columns alike.
    pub stride: usize,
    /// Zeros added around the image.
    pub padding: Padding,
    /// Number of independent groups of channels.
    pub groups: usize,
}

/// Zeros around the image of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many zeros on every side.
    Each(usize),
    /// TensorFlow's `SAME`: as many zeros as ⌈length/stride⌉ outputs need along each axis. Where their number is odd,
    /// the additional one comes last (at the bottom or the right).
    Same,
}

impl Padding {
    /// The numbers of zeros before and after an axis of `length` under windows of `window` every `stride`.
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

/// 2-D convolution with its derivatives; by default a gather of windows and a matrix product.
pub trait Convolution: Arithmetic {
    /// Cross-correlation without bias: x `[N, C, H, W]`, w `[O, C/groups, K, K]` → `[N, O, H', W']`.
    fn conv2d(&self, x: &Self::Tensor, w: &Self::Tensor, spec: Conv2dSpec) -> Result<Self::Tensor> {
        conv2d(self, x, w, spec)
    }
    /// The convolution [`conv2d`](Self::conv2d) on dual numbers.
    fn conv2d_dual(
        &self,
        x: &Dual<Self::Tensor>,
        w: &Dual<Self::Tensor>,
        spec: Conv2dSpec,
    ) -> Result<Dual<Self::Tensor>> {
        conv2d_dual(self, x, w, spec)
    }
}

impl<B: Convolution> Convolution for Duals<B> {
    fn conv2d(&self, x: &Self::Tensor, w: &Self::Tensor, spec: Conv2dSpec) -> Result<Self::Tensor> {
        self.0.conv2d_dual(x, w, spec)
    }
}

/// The number of windows along an axis, with `padding` before and after.
///
/// # Errors
/// When the window does not fit.
pub fn swept(
    op: &'static str,
    length: usize,
    window: usize,
    stride: usize,
    [before, after]: [usize; 2],
) -> Result<usize> {
    let padded = before + length + after;
    if window == 0 || stride == 0 || padded < window {
        return Err(Error::Invalid(format!(
            "{op}: a window of {window} with stride {stride} does not fit a length of {length} padded by {before} and {after}"
        )));
    }
    Ok((padded - window) / stride + 1)
}

/// Flat positions (in H·W) of the elements of all windows, window-major: `k·k` rows of `H'·W'`. `None` is padding.
pub(super) fn window_indices(
    op: &'static str,
    (h, w): (usize, usize),
    k: usize,
    stride: usize,
    padding: Padding,
) -> Result<(Vec<Option<usize>>, usize, usize)> {
    let [rows, columns] = [h, w].map(|length| padding.around(length, k, stride));
    let (oh, ow) = (swept(op, h, k, stride, rows)?, swept(op, w, k, stride, columns)?);
    let mut indices = Vec::with_capacity(k * k * oh * ow);
    for ky in 0..k {
        for kx in 0..k {
            for y in 0..oh {
                for x in 0..ow {
                    let row = (y * stride + ky).checked_sub(rows[0]).filter(|&row| row < h);
                    let column = (x * stride + kx).checked_sub(columns[0]).filter(|&column| column < w);
                    indices.push(row.zip(column).map(|(row, column)| row * w + column));
                }
            }
        }
    }
    Ok((indices, oh, ow))
}

/// Composes [`Convolution::conv2d`] of a gather of windows and a matrix product.
///
/// # Errors
/// Shape mismatches.
pub fn conv2d<B: Arithmetic>(b: &B, x: &B::Tensor, w: &B::Tensor, spec: Conv2dSpec) -> Result<B::Tensor> {
    let [n, c, h, width] = image_shape("conv2d", b.shape(x))?;
    let [o, cg, k, k2] = image_shape("conv2d weight", b.shape(w))?;
    let g = spec.groups;
    if g == 0 || cg * g != c || o % g != 0 || k != k2 {
        return Err(Error::ShapeMismatch {
            op: "conv2d",
            lhs: b.shape(x).to_vec(),
            rhs: b.shape(w).to_vec(),
        });
    }
    let (indices, oh, ow) = window_indices("conv2d", (h, width), k, spec.stride, spec.padding)?;
    let (kk, l) = (k * k, oh * ow);
    let windows = b.reshape(x, &[n, c, h * width])?;
    // With a 1×1 window, stride 1 and no padding the windows are the image itself.
    let whole = l == h * width && indices.iter().copied().eq((0..l).map(Some));
    let windows = if whole { windows } else { b.gather(&windows, 2, &indices)? };
    // [N, G, C/G·K², L] → [G, C/G·K², N·L]
    let columns = b.permute(&b.reshape(&windows, &[n, g, cg * kk, l])?, &[1, 2, 0, 3])?;
    let columns = b.reshape(&columns, &[g, cg * kk, n * l])?;
    let y = b.matmul(&b.reshape(w, &[g, o / g, cg * kk])?, &columns)?;
    let y = b.permute(&b.reshape(&y, &[o, n, l])?, &[1, 0, 2])?;
    b.reshape(&y, &[n, o, oh, ow])
}

/// The convolution y = x∗w with its derivative ẏ = ẋ∗w + x∗ẇ.
///
/// # Errors
/// The errors of [`Convolution::conv2d`].
pub fn conv2d_dual<B: Convolution>(
    b: &B,
    x: &Dual<B::Tensor>,
    w: &Dual<B::Tensor>,
    spec: Conv2dSpec,
) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, w, |x, w| b.conv2d(x, w, spec))
}
