//! Vectors in host memory: `Vec`, `Box<[_]>` and arrays of `f32` or `f64`, over a few kernels on slices.

use super::{
    Elementwise, Map, Matrices, Partition, Signs, Vector, elementwise::larger, join_leaves, random_signs,
    same_dim, split_leaves,
};
use crate::{Error, Result, collective::Packed};
use num_traits::{AsPrimitive, Float};

/// The precision in which a host vector is stored. Arithmetic is done in `f64` and rounded once, when it is stored.
pub trait Real: Float + AsPrimitive<f64> + std::fmt::Debug + Send + Sync + sealed::Sealed {
    /// Rounds to the nearest value of this precision (±∞ beyond its range).
    fn of(x: f64) -> Self;
    /// Packs numbers of this precision for other ranks.
    fn pack(values: Vec<Self>) -> Packed;
    /// The packed numbers, or `None` if they have another precision.
    fn unpack(numbers: Packed) -> Option<Vec<Self>>;
}

mod sealed {
    /// Restricts [`Real`](super::Real) to `f32` and `f64`, for which the accuracy of the kernels is promised.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn pack(values: Vec<Self>) -> Packed {
        Packed::Single(values)
    }
    fn unpack(numbers: Packed) -> Option<Vec<Self>> {
        if let Packed::Single(values) = numbers { Some(values) } else { None }
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn pack(values: Vec<Self>) -> Packed {
        Packed::Double(values)
    }
    fn unpack(numbers: Packed) -> Option<Vec<Self>> {
        if let Packed::Double(values) = numbers { Some(values) } else { None }
    }
}

/// Number of elements summed directly; longer inputs are halved (pairwise summation).
const BLOCK: usize = 1024;
/// Number of independent partial sums within a block, so that the compiler can vectorise.
const LANES: usize = 8;

/// The dot product ⟨x, y⟩ in f64: lanes within blocks, blocks pairwise. The error is at most about (BLOCK/LANES +
/// log₂(n/BLOCK)) ulps of Σ|xᵢyᵢ|, whatever the length. The order of the additions depends on the length alone, so
/// equal inputs give equal bits.
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    let n = x.len().min(y.len());
    if n > BLOCK {
        let middle = (n / 2).next_multiple_of(BLOCK);
        return dot(&x[..middle], &y[..middle]) + dot(&x[middle..n], &y[middle..n]);
    }
    let mut lanes = [0.0; LANES];
    let (x_chunks, y_chunks) = (x[..n].chunks_exact(LANES), y[..n].chunks_exact(LANES));
    let tail: f64 =
        (x_chunks.remainder().iter().zip(y_chunks.remainder())).map(|(&a, &b)| product(a, b)).sum();
    for (a, b) in x_chunks.zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] += product(a[lane], b[lane]);
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    (((a + b) + (c + d)) + ((e + f) + (g + h))) + tail
}

/// The product in f64, exact for f32: 24 + 24 bits fit.
fn product<T: Real>(a: T, b: T) -> f64 {
    let (a, b): (f64, f64) = (a.as_(), b.as_());
    a * b
}

/// Computes `a·x`; a = 0 gives an exact zero.
pub(super) fn scale_element<T: Real>(x: T, a: f64) -> T {
    if a == 0.0 { T::zero() } else { T::of(a * x.as_()) }
}

/// Computes s + a·x in f64, rounded once.
pub(super) fn axpy_element<T: Real>(s: T, a: f64, x: T) -> T {
    T::of(s.as_() + a * x.as_())
}

/// Computes f(x) in f64, rounded once.
pub(super) fn map_element<T: Real>(x: T, f: Map) -> T {
    T::of(f.at(x.as_()))
}

/// Computes s·x in f64, rounded once.
pub(super) fn multiply_element<T: Real>(s: T, x: T) -> T {
    T::of(s.as_() * x.as_())
}

/// Computes max(s, x); NaN where either is NaN.
pub(super) fn maximum_element<T: Real>(s: T, x: T) -> T {
    T::of(larger(s.as_(), x.as_()))
}

/// Computes s + a·x·y in f64, rounded once.
pub(super) fn addcmul_element<T: Real>(s: T, a: f64, x: T, y: T) -> T {
    T::of(s.as_() + a * (x.as_() * y.as_()))
}

/// Computes s + a·x/(√(b·y) + eps) in f64, rounded once.
pub(super) fn addcdiv_sqrt_element<T: Real>(s: T, a: f64, x: T, b: f64, y: T, eps: f64) -> T {
    T::of(s.as_() + a * x.as_() / ((b * y.as_()).sqrt() + eps))
}

/// Implements the vector traits for a type that owns a slice.
macro_rules! host_vector {
    ($([$($generics:tt)*] $owner:ty),*) => {$(
        impl<$($generics)*> Vector for $owner {
            fn dim(&self) -> usize {
                self.len()
            }
            fn scale(&mut self, a: f64) -> Result<()> {
                self.iter_mut().for_each(|x| *x = scale_element(*x, a));
                Ok(())
            }
            fn axpy(&mut self, a: f64, x: &Self) -> Result<()> {
                same_dim("axpy", self.len(), x.len())?;
                self.iter_mut().zip(x.iter()).for_each(|(s, &x)| *s = axpy_element(*s, a, x));
                Ok(())
            }
            fn aypx(&mut self, a: f64, x: &Self) -> Result<()> {
                same_dim("aypx", self.len(), x.len())?;
                self.iter_mut().zip(x.iter()).for_each(|(s, &x)| *s = axpy_element(x, a, *s));
                Ok(())
            }
            fn dot(&self, x: &Self) -> Result<f64> {
                same_dim("dot", self.len(), x.len())?;
                Ok(dot(self, x))
            }
        }

        impl<$($generics)*> Elementwise for $owner {
            fn map(&mut self, f: Map) -> Result<()> {
                self.iter_mut().for_each(|x| *x = map_element(*x, f));
                Ok(())
            }
            fn multiply(&mut self, x: &Self) -> Result<()> {
                same_dim("multiply", self.len(), x.len())?;
                self.iter_mut().zip(x.iter()).for_each(|(s, &x)| *s = multiply_element(*s, x));
                Ok(())
            }
            fn maximum(&mut self, x: &Self) -> Result<()> {
                same_dim("maximum", self.len(), x.len())?;
                self.iter_mut().zip(x.iter()).for_each(|(s, &x)| *s = maximum_element(*s, x));
                Ok(())
            }
            fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()> {
                same_dim("addcmul", self.len(), x.len())?;
                same_dim("addcmul", self.len(), y.len())?;
                for ((s, &x), &y) in self.iter_mut().zip(x.iter()).zip(y.iter()) {
                    *s = addcmul_element(*s, a, x, y);
                }
                Ok(())
            }
            fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> Result<()> {
                same_dim("addcdiv_sqrt", self.len(), x.len())?;
                same_dim("addcdiv_sqrt", self.len(), y.len())?;
                for ((s, &x), &y) in self.iter_mut().zip(x.iter()).zip(y.iter()) {
                    *s = addcdiv_sqrt_element(*s, a, x, b, y, eps);
                }
                Ok(())
            }
        }
    )*};
}
host_vector!([T: Real] Vec<T>, [T: Real] Box<[T]>, [T: Real, const N: usize] [T; N]);

impl<T: Real> Signs for Vec<T> {
    fn signs(&self, seed: u64) -> Result<Self> {
        Ok(random_signs(self.len(), seed).into_iter().map(|sign| T::of(f64::from(sign))).collect())
    }
}

/// A leaf of a host vector is one number and has no axis.
impl<T: Real> Matrices for Vec<T> {
    fn matrix(&self) -> Option<[usize; 2]> {
        None
    }
    fn gram(&self) -> Result<Self> {
        Err(Error::backend("gram: a host vector has no matrices"))
    }
    fn multiply_by(&mut self, _: &Self) -> Result<()> {
        Err(Error::backend("multiply_by: a host vector has no matrices"))
    }
}

/// Each element of a host vector is a leaf.
impl<T: Real> Partition for Vec<T> {
    fn num_leaves(&self) -> usize {
        self.len()
    }
    fn split(&mut self, group: &[usize], parts: usize) -> Result<Vec<Self>> {
        split_leaves(self, group, parts)
    }
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> Result<()> {
        *self = join_leaves(group, parts)?;
        Ok(())
    }
}
