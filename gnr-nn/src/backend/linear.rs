//! Linear layers, and operations on each channel.

use super::{
    Arithmetic, Duals,
    arithmetic::{bilinear_dual, image_shape},
};
use crate::{Dual, Error, Result};

/// Linear layers, biases and channel factors with their derivatives. Each has a default made of [`Arithmetic`].
pub trait Linear: Arithmetic {
    /// A linear layer `x·Wᵀ + b`: x `[N, I]`, w `[O, I]`, b `[O]` → `[N, O]`.
    fn linear(&self, x: &Self::Tensor, w: &Self::Tensor, b: Option<&Self::Tensor>) -> Result<Self::Tensor> {
        linear(self, x, w, b)
    }
    /// Adds `b[c]` to channel c: x `[N, C, …]`, b `[C]`.
    fn bias_add(&self, x: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        bias_add(self, x, b)
    }
    /// Multiplies each channel of each sample by its own factor: x `[N, C, H, W]`, s `[N, C]`.
    fn scale_channels(&self, x: &Self::Tensor, s: &Self::Tensor) -> Result<Self::Tensor> {
        scale_channels(self, x, s)
    }
    /// A linear layer [`linear`](Self::linear) on dual numbers.
    fn linear_dual(
        &self,
        x: &Dual<Self::Tensor>,
        w: &Dual<Self::Tensor>,
        b: Option<&Dual<Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        linear(&Duals(self.clone()), x, w, b)
    }
    /// Channel factors [`scale_channels`](Self::scale_channels) on dual numbers.
    fn scale_channels_dual(
        &self,
        x: &Dual<Self::Tensor>,
        s: &Dual<Self::Tensor>,
    ) -> Result<Dual<Self::Tensor>> {
        scale_channels_dual(self, x, s)
    }
}

impl<B: Linear> Linear for Duals<B> {
    fn linear(&self, x: &Self::Tensor, w: &Self::Tensor, b: Option<&Self::Tensor>) -> Result<Self::Tensor> {
        self.0.linear_dual(x, w, b)
    }
    fn bias_add(&self, x: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        let primal = self.0.bias_add(&x.primal, &b.primal)?;
        let tangent = match (&x.tangent, &b.tangent) {
            (Some(x), Some(b)) => Some(self.0.bias_add(x, b)?),
            (Some(x), None) => Some(x.clone()),
            (None, Some(b)) => Some(broadcast_channels(&self.0, b, self.0.shape(&x.primal))?),
            (None, None) => None,
        };
        Ok(Dual { primal, tangent })
    }
    fn scale_channels(&self, x: &Self::Tensor, s: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.scale_channels_dual(x, s)
    }
}

/// Composes [`Linear::linear`] of primitives.
///
/// # Errors
/// Shape mismatches.
pub fn linear<B: Linear>(b: &B, x: &B::Tensor, w: &B::Tensor, bias: Option<&B::Tensor>) -> Result<B::Tensor> {
    let y = b.matmul(x, &b.permute(w, &[1, 0])?)?;
    match bias {
        Some(bias) => b.bias_add(&y, bias),
        None => Ok(y),
    }
}

/// Repeats a vector `[C]` to `[N, C, …]`.
///
/// # Errors
/// When the lengths differ.
pub fn broadcast_channels<B: Arithmetic>(b: &B, v: &B::Tensor, shape: &[usize]) -> Result<B::Tensor> {
    if shape.len() < 2 || b.shape(v) != [shape[1]] {
        return Err(Error::ShapeMismatch {
            op: "broadcast_channels",
            lhs: b.shape(v).to_vec(),
            rhs: shape.to_vec(),
        });
    }
    let mut ones = vec![1; shape.len()];
    ones[1] = shape[1];
    b.broadcast(&b.reshape(v, &ones)?, shape)
}

/// Composes [`Linear::bias_add`] of primitives.
///
/// # Errors
/// Shape mismatches.
pub fn bias_add<B: Arithmetic>(b: &B, x: &B::Tensor, bias: &B::Tensor) -> Result<B::Tensor> {
    b.add(x, &broadcast_channels(b, bias, b.shape(x))?)
}

/// Repeats `[N, C]` over space to the shape `[N, C, H, W]` of `x`.
fn broadcast_maps<B: Arithmetic>(b: &B, x: &B::Tensor, s: &B::Tensor) -> Result<B::Tensor> {
    let shape = image_shape("scale_channels", b.shape(x))?;
    let [n, c, ..] = shape;
    if b.shape(s) != [n, c] {
        return Err(Error::ShapeMismatch {
            op: "scale_channels",
            lhs: shape.to_vec(),
            rhs: b.shape(s).to_vec(),
        });
    }
    b.broadcast(&b.reshape(s, &[n, c, 1, 1])?, &shape)
}

/// Composes [`Linear::scale_channels`] of primitives.
///
/// # Errors
/// Shape mismatches.
pub fn scale_channels<B: Arithmetic>(b: &B, x: &B::Tensor, s: &B::Tensor) -> Result<B::Tensor> {
    b.mul(x, &broadcast_maps(b, x, s)?)
}

/// The product y = x⊙s with its derivative ẏ = ẋ⊙s + x⊙ṡ.
///
/// # Errors
/// The errors of [`Linear::scale_channels`].
pub fn scale_channels_dual<B: Linear>(
    b: &B,
    x: &Dual<B::Tensor>,
    s: &Dual<B::Tensor>,
) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, s, |x, s| b.scale_channels(x, s))
}
