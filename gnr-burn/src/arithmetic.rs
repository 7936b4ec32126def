//! The operations that every backend must have, and the capabilities that keep their defaults.

use burn_backend::backend::AutodiffBackend;
use gnr_nn::{Arithmetic, Attention, Linear, Loss, Result, Unary};

use crate::tensor::{Burn, BurnTensor, invalid, mismatch, run, same};

impl<B: AutodiffBackend> Arithmetic for Burn<B> {
    type Tensor = BurnTensor<B>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<BurnTensor<B>> {
        self.host("constant", data.iter().copied(), shape)
    }
    fn shape<'t>(&self, x: &'t BurnTensor<B>) -> &'t [usize] {
        x.shape()
    }
    fn detach(&self, x: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        Ok(BurnTensor::plain(x.values()))
    }

    fn add(&self, a: &BurnTensor<B>, b: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        same("add", a, b)?;
        Ok(run!(add, [a, b]))
    }
    fn sub(&self, a: &BurnTensor<B>, b: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        same("sub", a, b)?;
        Ok(run!(sub, [a, b]))
    }
    fn mul(&self, a: &BurnTensor<B>, b: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        same("mul", a, b)?;
        Ok(run!(mul, [a, b]))
    }
    fn affine(&self, x: &BurnTensor<B>, a: f64, b: f64) -> Result<BurnTensor<B>> {
        Ok(run!(affine, [x], a, b))
    }
    fn unary(&self, op: Unary, x: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        Ok(match op {
            Unary::Relu => run!(relu, [x]),
            Unary::Step => BurnTensor::plain(crate::ops::step::<B::InnerBackend>(x.values())),
            Unary::Exp => run!(exp, [x]),
            Unary::Ln => run!(ln, [x]),
            Unary::Tanh => run!(tanh, [x]),
            Unary::Rsqrt => run!(rsqrt, [x]),
            Unary::Recip => run!(recip, [x]),
            Unary::Sigmoid => run!(sigmoid, [x]),
            Unary::Silu => run!(silu, [x]),
            Unary::Relu6 => run!(relu6, [x]),
            Unary::NormalCdf => run!(normal_cdf, [x]),
            Unary::Gelu => run!(gelu, [x]),
        })
    }
    fn matmul(&self, a: &BurnTensor<B>, b: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        match (a.shape(), b.shape()) {
            (&[_, k], &[k2, _]) if k == k2 => Ok(run!(matmul, [a, b])),
            (&[n, _, k], &[n2, k2, _]) if k == k2 && n == n2 => Ok(run!(matmul, [a, b])),
            _ => mismatch("matmul", a, b),
        }
    }
    fn sum(&self, x: &BurnTensor<B>, axes: &[usize]) -> Result<BurnTensor<B>> {
        if axes.iter().any(|&axis| axis >= x.shape().len()) {
            return invalid("sum", format!("one with axes {axes:?}"), x.shape());
        }
        Ok(if axes.is_empty() { x.clone() } else { run!(sum, [x], axes) })
    }
    fn broadcast(&self, x: &BurnTensor<B>, shape: &[usize]) -> Result<BurnTensor<B>> {
        let fits = x.shape().len() == shape.len()
            && x.shape().iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
        if !fits {
            let (lhs, rhs) = (x.shape().to_vec(), shape.to_vec());
            return Err(gnr_nn::Error::ShapeMismatch { op: "broadcast", lhs, rhs });
        }
        Ok(run!(expand, [x], shape))
    }
    fn reshape(&self, x: &BurnTensor<B>, shape: &[usize]) -> Result<BurnTensor<B>> {
        if x.len() != shape.iter().product::<usize>() {
            return invalid("reshape", format!("one with {} elements", x.len()), shape);
        }
        Ok(run!(reshape, [x], shape))
    }
    fn permute(&self, x: &BurnTensor<B>, axes: &[usize]) -> Result<BurnTensor<B>> {
        let rank = x.shape().len();
        if axes.len() != rank || (0..rank).any(|axis| !axes.contains(&axis)) {
            return invalid("permute", format!("one whose axes {axes:?} permutes"), x.shape());
        }
        Ok(run!(permute, [x], axes))
    }
    /// Returns a slice if the indices are consecutive, else looks them up.
    fn gather(&self, x: &BurnTensor<B>, axis: usize, indices: &[Option<usize>]) -> Result<BurnTensor<B>> {
        let length = x.shape().get(axis).copied().unwrap_or(0);
        if length == 0 || indices.iter().flatten().any(|&i| i >= length) {
            let largest = indices.iter().flatten().max().copied().unwrap_or(0);
            return invalid(
                "gather",
                format!("one whose axis {axis} has more than {largest} elements"),
                x.shape(),
            );
        }
        if let Some(&Some(first)) = indices.first()
            && indices.iter().enumerate().all(|(j, &i)| i == Some(first + j))
        {
            return Ok(run!(narrow, [x], axis, first, indices.len()));
        }
        Ok(run!(gather, [x], axis, indices))
    }
    fn max_last(&self, x: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        match x.shape() {
            [.., width] if *width > 0 => {
                let max = crate::ops::max::<B::InnerBackend>(x.values(), x.shape().len() - 1);
                Ok(BurnTensor::plain(max))
            }
            shape => invalid("max_last", "a last axis that is not empty", shape),
        }
    }
}

impl<B: AutodiffBackend> Linear for Burn<B> {}
impl<B: AutodiffBackend> Attention for Burn<B> {}
impl<B: AutodiffBackend> Loss for Burn<B> {}
