//! The operations that every backend must have.

use gnr_nn::{Arithmetic, Dual, Result, Unary, composed};
use tch::{TchError, Tensor};

use crate::{
    record::{Layer, Session},
    tensor::{Torch, TorchTensor, ints, invalid, mismatch, same},
};

impl Torch {
    /// A mask of booleans, true where x > 0, without a graph.
    pub(crate) fn positive(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_detach()?.f_gt_tensor(&self.number(0.0)?)
    }

    /// Applies an operation to each element, without recording it.
    fn activated(&self, op: Unary, x: &TorchTensor) -> Result<TorchTensor> {
        let t = x.t();
        let y = match op {
            Unary::Relu => t.f_relu(),
            Unary::Step => self.positive(t).and_then(|y| y.f_to_kind(self.precision.kind())),
            Unary::Exp => t.f_exp(),
            Unary::Ln => t.f_log(),
            Unary::Tanh => t.f_tanh(),
            Unary::Rsqrt => t.f_rsqrt(),
            Unary::Recip => t.f_reciprocal(),
            Unary::Sigmoid => t.f_sigmoid(),
            Unary::Silu => t.f_silu(),
            Unary::Relu6 => t.f_relu6(),
            Unary::NormalCdf => t.f_special_ndtr(),
            Unary::Gelu => t.f_gelu("none"),
        };
        self.new_tensor(name(op), &[x], y)
    }
}

/// The name of an operation in errors.
fn name(op: Unary) -> &'static str {
    match op {
        Unary::Relu => "relu",
        Unary::Step => "step",
        Unary::Exp => "exp",
        Unary::Ln => "ln",
        Unary::Tanh => "tanh",
        Unary::Rsqrt => "rsqrt",
        Unary::Recip => "recip",
        Unary::Sigmoid => "sigmoid",
        Unary::Silu => "silu",
        Unary::Relu6 => "relu6",
        Unary::NormalCdf => "normal_cdf",
        Unary::Gelu => "gelu",
    }
}

impl Arithmetic for Torch {
    type Tensor = TorchTensor;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<TorchTensor> {
        self.host("constant", data, shape)
    }
    fn shape<'t>(&self, x: &'t TorchTensor) -> &'t [usize] {
        x.shape()
    }
    fn detach(&self, x: &TorchTensor) -> Result<TorchTensor> {
        self.checked("detach", &[x], x.t().f_detach()).map(|t| x.view(t))
    }

    fn add(&self, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        same("add", a, b)?;
        self.new_tensor("add", &[a, b], a.t().f_add(b.t()))
    }
    fn sub(&self, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        same("sub", a, b)?;
        self.new_tensor("sub", &[a, b], a.t().f_sub(b.t()))
    }
    fn mul(&self, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        same("mul", a, b)?;
        self.new_tensor("mul", &[a, b], a.t().f_mul(b.t()))
    }
    fn affine(&self, x: &TorchTensor, a: f64, b: f64) -> Result<TorchTensor> {
        let y = || match (a == 1.0, b == 0.0) {
            (true, _) => x.t().f_add(&self.number(b)?),
            (false, true) => x.t().f_mul(&self.number(a)?),
            (false, false) => x.t().f_mul(&self.number(a)?)?.f_add(&self.number(b)?),
        };
        self.new_tensor("affine", &[x], y())
    }
    fn unary(&self, op: Unary, x: &TorchTensor) -> Result<TorchTensor> {
        let y = self.activated(op, x)?;
        self.record(Layer::new(name(op), &y));
        Ok(y)
    }
    /// The tangent of ReLU is computed by a mask, that of GELU by one kernel, which ATen can differentiate. Others are
    /// composed. In a product the output comes from the record.
    fn unary_dual(&self, op: Unary, x: &Dual<TorchTensor>) -> Result<Dual<TorchTensor>> {
        let primal = match &self.session {
            Session::Replaying(replay) => replay.next(name(op))?.value.clone(),
            _ => self.activated(op, &x.primal)?,
        };
        let Some(tangent) = &x.tangent else { return Ok(Dual::constant(primal)) };
        let slope = match op {
            Unary::Relu => self.positive(x.primal.t()).and_then(|mask| tangent.t().f_mul(&mask)),
            Unary::Gelu => x.primal.t().f_gelu_backward(tangent.t(), "none"),
            _ => return Ok(Dual { primal, ..composed::unary_dual(&self.inside(), op, x)? }),
        };
        same(name(op), &primal, tangent)?;
        let tangent = self.new_tensor(name(op), &[&x.primal, tangent], slope)?;
        Ok(Dual { primal, tangent: Some(tangent) })
    }
    fn matmul(&self, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        match (a.shape(), b.shape()) {
            (&[_, k], &[k2, _]) if k == k2 => {}
            (&[n, _, k], &[n2, k2, _]) if k == k2 && n == n2 => {}
            _ => return mismatch("matmul", a, b),
        }
        self.new_tensor("matmul", &[a, b], self.product(a.t(), b.t()))
    }
    fn sum(&self, x: &TorchTensor, axes: &[usize]) -> Result<TorchTensor> {
        if axes.iter().any(|&axis| axis >= x.shape().len()) {
            return invalid("sum", format!("one with axes {axes:?}"), x.shape());
        }
        if axes.is_empty() {
            return Ok(x.clone());
        }
        self.new_tensor("sum", &[x], x.t().f_sum_dim_intlist(ints(axes), true, self.precision.kind()))
    }
    fn broadcast(&self, x: &TorchTensor, shape: &[usize]) -> Result<TorchTensor> {
        let fits = x.shape().len() == shape.len()
            && x.shape().iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
        if !fits {
            let (lhs, rhs) = (x.shape().to_vec(), shape.to_vec());
            return Err(gnr_nn::Error::ShapeMismatch { op: "broadcast", lhs, rhs });
        }
        self.checked("broadcast", &[x], x.t().f_expand(ints(shape), false)).map(|t| x.view(t))
    }
    fn reshape(&self, x: &TorchTensor, shape: &[usize]) -> Result<TorchTensor> {
        if x.len() != shape.iter().product::<usize>() {
            return invalid("reshape", format!("one with {} elements", x.len()), shape);
        }
        self.checked("reshape", &[x], x.t().f_reshape(ints(shape))).map(|t| x.view(t))
    }
    fn permute(&self, x: &TorchTensor, axes: &[usize]) -> Result<TorchTensor> {
        let rank = x.shape().len();
        if axes.len() != rank || (0..rank).any(|axis| !axes.contains(&axis)) {
            return invalid("permute", format!("one whose axes {axes:?} permutes"), x.shape());
        }
        self.checked("permute", &[x], x.t().f_permute(ints(axes))).map(|t| x.view(t))
    }
    /// Returns a view if the indices are consecutive, else looks them up with a table that stays on the device.
    fn gather(&self, x: &TorchTensor, axis: usize, indices: &[Option<usize>]) -> Result<TorchTensor> {
        let length = x.shape().get(axis).copied().unwrap_or(0);
        if length == 0 || indices.iter().flatten().any(|&i| i >= length) {
            let largest = indices.iter().flatten().max().copied().unwrap_or(0);
            return invalid(
                "gather",
                format!("one whose axis {axis} has more than {largest} elements"),
                x.shape(),
            );
        }
        let along = axis as i64;
        if let Some(&Some(first)) = indices.first()
            && indices.iter().enumerate().all(|(j, &i)| i == Some(first + j))
        {
            let part = x.t().f_narrow(along, first as i64, indices.len() as i64);
            return self.checked("gather", &[x], part).map(|t| x.view(t));
        }
        let table = self.table(indices)?;
        let y = x.t().f_index_select(along, &table.indices).and_then(|y| match &table.absent {
            None => Ok(y),
            Some(absent) => {
                let mut shape = vec![1_i64; x.shape().len()];
                shape[axis] = indices.len() as i64;
                y.f_masked_fill_tensor(&absent.f_reshape(shape)?, &self.number(0.0)?)
            }
        });
        self.new_tensor("gather", &[x], y)
    }
    fn max_last(&self, x: &TorchTensor) -> Result<TorchTensor> {
        if x.shape().last().is_none_or(|&width| width == 0) {
            return invalid("max_last", "a last axis that is not empty", x.shape());
        }
        self.new_tensor("max_last", &[x], x.t().f_detach().and_then(|t| t.f_amax([-1_i64].as_slice(), true)))
    }
}
