//! [`Elem`]: the element types of the kernels, `f32` and `f64`.

use super::operand::Producer;
use crate::buffer::Pooled;
use num_traits::{Float, FromPrimitive};
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{AddAssign, MulAssign};

/// A floating-point element: arithmetic, exact conversion to `f64`, pooled buffers.
pub trait Elem:
    Float + FromPrimitive + Pooled + Default + Debug + Send + Sync + Sum + AddAssign + MulAssign + 'static
{
    /// Rounds to this type. The name `from_f64` is taken by a fallible function of `num_traits`.
    fn of(x: f64) -> Self;
    /// Converts to `f64` without rounding.
    fn wide(self) -> f64;
    /// Computes eˣ, in `f32` in a form that loops vectorise.
    fn natural_exp<const FUSED: bool>(self) -> Self;
    /// Computes Φ(x) of the standard normal distribution, and exp(−x²/2).
    fn normal<const FUSED: bool>(self) -> (Self, Self);
    /// Returns the slice itself if `Self` is `f32`. A generic kernel reaches its `f32` fast path this way.
    fn as_f32(x: &[Self]) -> Option<&[f32]>;
    /// Returns the mutable slice itself if `Self` is `f32`.
    fn as_f32_mut(x: &mut [Self]) -> Option<&mut [f32]>;
    /// Returns the producer itself if `Self` is `f32`.
    fn as_f32_producer(producer: &dyn Producer<Self>) -> Option<&dyn Producer<f32>>;
}

impl Elem for f32 {
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn natural_exp<const FUSED: bool>(self) -> f32 {
        super::sigmoid::exp_f32::<FUSED>(self)
    }
    #[inline(always)]
    fn normal<const FUSED: bool>(self) -> (f32, f32) {
        super::normal::normal_f32::<FUSED>(self)
    }
    fn as_f32(x: &[f32]) -> Option<&[f32]> {
        Some(x)
    }
    fn as_f32_mut(x: &mut [f32]) -> Option<&mut [f32]> {
        Some(x)
    }
    fn as_f32_producer(producer: &dyn Producer<f32>) -> Option<&dyn Producer<f32>> {
        Some(producer)
    }
}

impl Elem for f64 {
    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn natural_exp<const FUSED: bool>(self) -> f64 {
        self.exp()
    }
    #[inline(always)]
    fn normal<const FUSED: bool>(self) -> (f64, f64) {
        super::normal::normal_f64(self)
    }
    fn as_f32(_: &[f64]) -> Option<&[f32]> {
        None
    }
    fn as_f32_mut(_: &mut [f64]) -> Option<&mut [f32]> {
        None
    }
    fn as_f32_producer(_: &dyn Producer<f64>) -> Option<&dyn Producer<f32>> {
        None
    }
}
