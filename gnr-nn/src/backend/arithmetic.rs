//! The primitives that every backend implements, and their derivatives.

use super::Duals;
use crate::{AcrossRanks, Dual, Error, Result, ranks::unsupported};

/// Elementwise functions. The derivative of each is composed of these functions and arithmetic, so dual numbers need no
/// further function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// The function max(x, 0); derivative 0 at 0, as in PyTorch.
    Relu,
    /// The step function: 1 where x > 0, else 0. Its derivative is taken as zero everywhere.
    Step,
    /// The exponential eˣ.
    Exp,
    /// The natural logarithm ln x.
    Ln,
    /// The hyperbolic tangent tanh x.
    Tanh,
    /// The reciprocal root 1/√x.
    Rsqrt,
    /// The reciprocal 1/x.
    Recip,
    /// The logistic function 1/(1 + e⁻ˣ).
    Sigmoid,
    /// The function x/(1 + e⁻ˣ), also called swish.
    Silu,
    /// The function min(max(x, 0), 6); derivative 0 at 0 and at 6, as in PyTorch.
    Relu6,
    /// The standard normal distribution function Φ(x) = (1 + erf(x/√2))/2.
    NormalCdf,
    /// The exact GELU, x·Φ(x).
    Gelu,
}

/// Eager arithmetic on immutable tensors of dynamic shape: the operations that a new backend must implement.
///
/// Each further capability ([`Linear`](super::Linear), [`Convolution`](super::Convolution), …) has operations composed
/// of these. The methods named `*_dual` act on dual numbers: a composition's tangent *is* the exact derivative.
pub trait Arithmetic: Clone {
    /// A tensor; clones share the data.
    type Tensor: Clone;

    /// A constant from row-major host data.
    ///
    /// # Errors
    /// When the number of elements is not the product of `shape`.
    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Self::Tensor>;
    /// The shape of a tensor.
    fn shape<'t>(&self, x: &'t Self::Tensor) -> &'t [usize];
    /// A tensor with the values of `x` and no history.
    ///
    /// # Errors
    /// A failure of the library, where it copies.
    fn detach(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// The sum `a + b` of tensors of equal shape.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// The elementwise product `a ⊙ b` of tensors of equal shape.
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// The affine function `a·x + b` of each element.
    fn affine(&self, x: &Self::Tensor, a: f64, b: f64) -> Result<Self::Tensor>;
    /// Applies an elementwise function.
    fn unary(&self, op: Unary, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// The matrix product `[M, K]·[K, N]`, or `[B, M, K]·[B, K, N]` for a batch.
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// The sum over `axes`, which stay with length 1.
    fn sum(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;
    /// Repeats axes of length 1 to reach the given shape, which has equal rank.
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    /// The elements of x in row-major order, with another shape.
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    /// Permutes axes: axis `i` of the result is axis `axes[i]` of `x`.
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;
    /// Picks elements along `axis`: element `j` of the result is element `indices[j]` of `x`, or 0 for `None`. Indices
    /// may repeat. Slices, strides, zero padding, shifts, windows and table look-ups are all this one linear map.
    fn gather(&self, x: &Self::Tensor, axis: usize, indices: &[Option<usize>]) -> Result<Self::Tensor>;
    /// The maximum over the last axis, which stays with length 1; detached.
    fn max_last(&self, x: &Self::Tensor) -> Result<Self::Tensor>;

    /// The weighted sum Σ wᵣ·xᵣ over the ranks that share the batch, where wᵣ are their shares of it.
    ///
    /// L̂ = Σ wᵣ·L̂ᵣ. The reverse pass of each rank holds the derivatives of L̂ divided by the rank's weight; in these
    /// the operation is its own transpose.
    ///
    /// # Errors
    /// The errors of the collective; an error of a backend that cannot exchange tensors.
    fn mean_over_ranks(&self, _x: &Self::Tensor, _across: &AcrossRanks) -> Result<Self::Tensor> {
        unsupported()
    }

    // ------------------------------------------------------------------------------------------------------ provided

    /// The difference `a − b` of tensors of equal shape.
    fn sub(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.add(a, &self.affine(b, -1.0, 0.0)?)
    }
    /// The function max(x, 0) of each element.
    fn relu(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.unary(Unary::Relu, x)
    }
    /// The elementwise product [`mul`](Self::mul) on dual numbers.
    fn mul_dual(&self, a: &Dual<Self::Tensor>, b: &Dual<Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        mul_dual(self, a, b)
    }
    /// An elementwise function on dual numbers, as [`unary`](Self::unary).
    fn unary_dual(&self, op: Unary, x: &Dual<Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        unary_dual(self, op, x)
    }
    /// The matrix product [`matmul`](Self::matmul) on dual numbers.
    fn matmul_dual(&self, a: &Dual<Self::Tensor>, b: &Dual<Self::Tensor>) -> Result<Dual<Self::Tensor>> {
        matmul_dual(self, a, b)
    }
}

impl<B: Arithmetic> Duals<B> {
    /// Applies a linear map to the value and to the derivative.
    pub(super) fn linear_map(
        &self,
        x: &Dual<B::Tensor>,
        f: impl Fn(&B::Tensor) -> Result<B::Tensor>,
    ) -> Result<Dual<B::Tensor>> {
        Ok(Dual { primal: f(&x.primal)?, tangent: x.tangent.as_ref().map(f).transpose()? })
    }
}

impl<B: Arithmetic> Arithmetic for Duals<B> {
    type Tensor = Dual<B::Tensor>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Self::Tensor> {
        Ok(Dual::constant(self.0.constant(data, shape)?))
    }
    fn shape<'t>(&self, x: &'t Self::Tensor) -> &'t [usize] {
        self.0.shape(&x.primal)
    }
    fn detach(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        Ok(Dual::constant(self.0.detach(&x.primal)?))
    }
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        let tangent = add_tangents(&self.0, a.tangent.clone(), b.tangent.clone())?;
        Ok(Dual { primal: self.0.add(&a.primal, &b.primal)?, tangent })
    }
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.mul_dual(a, b)
    }
    fn affine(&self, x: &Self::Tensor, a: f64, b: f64) -> Result<Self::Tensor> {
        let tangent = x.tangent.as_ref().map(|t| self.0.affine(t, a, 0.0)).transpose()?;
        Ok(Dual { primal: self.0.affine(&x.primal, a, b)?, tangent })
    }
    fn unary(&self, op: Unary, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.unary_dual(op, x)
    }
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.matmul_dual(a, b)
    }
    fn sum(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.sum(x, axes))
    }
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.broadcast(x, shape))
    }
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.reshape(x, shape))
    }
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.permute(x, axes))
    }
    fn gather(&self, x: &Self::Tensor, axis: usize, indices: &[Option<usize>]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.gather(x, axis, indices))
    }
    fn max_last(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        Ok(Dual::constant(self.0.max_last(&x.primal)?))
    }
    fn mean_over_ranks(&self, x: &Self::Tensor, across: &AcrossRanks) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.mean_over_ranks(x, across))
    }
}

/// The sum of two tangents, of which either may be zero (`None`).
///
/// # Errors
/// The errors of [`Arithmetic::add`].
pub fn add_tangents<B: Arithmetic>(
    b: &B,
    x: Option<B::Tensor>,
    y: Option<B::Tensor>,
) -> Result<Option<B::Tensor>> {
    Ok(match (x, y) {
        (Some(x), Some(y)) => Some(b.add(&x, &y)?),
        (x, None) => x,
        (None, y) => y,
    })
}

pub(super) fn image_shape(op: &'static str, shape: &[usize]) -> Result<[usize; 4]> {
    shape.try_into().map_err(|_| Error::InvalidShape {
        op,
        expected: "[N, C, H, W]".into(),
        found: shape.to_vec(),
    })
}

/// The mean over `axes`, which stay with length 1.
///
/// # Errors
/// The errors of [`Arithmetic::sum`].
pub fn mean<B: Arithmetic>(b: &B, x: &B::Tensor, axes: &[usize]) -> Result<B::Tensor> {
    let shape = b.shape(x);
    // An axis that does not exist is left to the sum to report.
    let count: usize = axes.iter().filter_map(|&axis| shape.get(axis)).product();
    b.affine(&b.sum(x, axes)?, 1.0 / count as f64, 0.0)
}

/// The product rule for a bilinear operation.
pub(super) fn bilinear_dual<B: Arithmetic>(
    b: &B,
    x: &Dual<B::Tensor>,
    y: &Dual<B::Tensor>,
    f: impl Fn(&B::Tensor, &B::Tensor) -> Result<B::Tensor>,
) -> Result<Dual<B::Tensor>> {
    let left = x.tangent.as_ref().map(|t| f(t, &y.primal)).transpose()?;
    let right = y.tangent.as_ref().map(|t| f(&x.primal, t)).transpose()?;
    Ok(Dual { primal: f(&x.primal, &y.primal)?, tangent: add_tangents(b, left, right)? })
}

/// Composes [`Arithmetic::mul_dual`] of products without tangents.
///
/// # Errors
/// The errors of [`Arithmetic::mul`].
pub fn mul_dual<B: Arithmetic>(b: &B, x: &Dual<B::Tensor>, y: &Dual<B::Tensor>) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, y, |x, y| b.mul(x, y))
}

/// Composes [`Arithmetic::matmul_dual`] of products without tangents.
///
/// # Errors
/// The errors of [`Arithmetic::matmul`].
pub fn matmul_dual<B: Arithmetic>(
    b: &B,
    x: &Dual<B::Tensor>,
    y: &Dual<B::Tensor>,
) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, y, |x, y| b.matmul(x, y))
}

/// The function y = f(x) with ẏ = f′(x)·ẋ. f′ consists of primitives, too, so that it can be differentiated once more.
///
/// # Errors
/// The errors of the primitives.
pub fn unary_dual<B: Arithmetic>(b: &B, op: Unary, x: &Dual<B::Tensor>) -> Result<Dual<B::Tensor>> {
    let y = b.unary(op, &x.primal)?;
    let Some(t) = &x.tangent else { return Ok(Dual::constant(y)) };
    let derivative = match op {
        Unary::Relu => b.unary(Unary::Step, &x.primal)?,
        Unary::Step => return Ok(Dual::constant(y)),
        Unary::Exp => y.clone(),
        Unary::Ln => b.unary(Unary::Recip, &x.primal)?,
        Unary::Tanh => b.affine(&b.mul(&y, &y)?, -1.0, 1.0)?,
        Unary::Rsqrt => b.affine(&b.mul(&y, &b.mul(&y, &y)?)?, -0.5, 0.0)?,
        Unary::Recip => b.affine(&b.mul(&y, &y)?, -1.0, 0.0)?,
        Unary::Sigmoid => b.mul(&y, &b.affine(&y, -1.0, 1.0)?)?,
        Unary::Silu => {
            // The slope is σ(x) + x·σ(x)·(1 − σ(x)).
            let sigmoid = b.unary(Unary::Sigmoid, &x.primal)?;
            b.add(&sigmoid, &b.mul(&y, &b.affine(&sigmoid, -1.0, 1.0)?)?)?
        }
        Unary::NormalCdf => normal_density(b, &x.primal)?,
        // The slope is Φ(x) + x·φ(x).
        Unary::Gelu => {
            let slope = b.mul(&x.primal, &normal_density(b, &x.primal)?)?;
            b.add(&b.unary(Unary::NormalCdf, &x.primal)?, &slope)?
        }
        Unary::Relu6 => {
            let below = b.unary(Unary::Step, &b.affine(&x.primal, -1.0, 6.0)?)?;
            b.mul(&b.unary(Unary::Step, &x.primal)?, &below)?
        }
    };
    let tangent = Some(b.mul(&derivative, t)?);
    Ok(Dual { primal: y, tangent })
}

/// The standard normal density φ(x) = exp(−x²/2)/√2π.
pub(super) fn normal_density<B: Arithmetic>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let exponential = b.unary(Unary::Exp, &b.affine(&b.mul(x, x)?, -0.5, 0.0)?)?;
    b.affine(&exponential, std::f64::consts::TAU.sqrt().recip(), 0.0)
}
