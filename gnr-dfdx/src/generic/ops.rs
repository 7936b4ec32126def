//! The primitives in dfdx's public operations.

use std::rc::Rc;

use dfdx::prelude::{
    Axes3, Axes4, Axis, BroadcastTo, ChooseFrom, Dtype, GatherTo, HasShape, MaxTo, PermuteTo, PutTape,
    ReshapeTo, SumTo, Tensor, TryAdd, TryGt, TryMatMul, TryMul,
};
use gnr_nn::{Arithmetic, Error, Result, Unary, composed};
use num_traits::Float;

use super::{DeviceOps, Generic, GenericTensor, Taped, check_len, library, same_shape};
use crate::tape::SharedTape;

/// Sums longer than this are cut into rows first, because dfdx adds the elements of a sum one after the other.
const LONG: usize = 64;

/// The shape as (product before, length, product after) an axis.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

fn invalid<T>(op: &'static str, expected: String, found: &[usize]) -> Result<T> {
    Err(Error::InvalidShape { op, expected, found: found.to_vec() })
}

/// The divisor of n that is closest to √n from below.
fn rows(n: usize) -> usize {
    let root = (n as f64).sqrt() as usize;
    (1..=root.max(1)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    pub(super) fn tensor(
        &self,
        op: &'static str,
        data: Vec<E>,
        shape: &[usize],
    ) -> Result<GenericTensor<E, D>> {
        check_len(op, data.len(), shape)?;
        let len = data.len();
        let flat: Tensor<(usize,), E, D> = self.device.try_tensor_from_vec(data, (len,)).map_err(library)?;
        Ok(GenericTensor::new(flat.put_tape(SharedTape::default()), shape))
    }

    /// Copies the values to a tensor with an identity of its own.
    pub(super) fn renewed(&self, x: &GenericTensor<E, D>) -> Result<Tensor<(usize,), E, D>> {
        x.values().try_mul(E::one()).map_err(library)
    }

    /// Returns the second operand, copied if it is also the first: dfdx refuses one tensor as both operands.
    fn other(&self, a: &GenericTensor<E, D>, b: &GenericTensor<E, D>) -> Result<Taped<(usize,), E, D>> {
        let same = Rc::ptr_eq(&a.identity, &b.identity);
        if same { b.taped().try_mul(E::one()).map_err(library) } else { Ok(b.taped()) }
    }

    pub(super) fn add_op(
        &self,
        a: &GenericTensor<E, D>,
        b: &GenericTensor<E, D>,
    ) -> Result<GenericTensor<E, D>> {
        same_shape("add", a, b)?;
        let y = a.taped().try_add(self.other(a, b)?).map_err(library)?;
        self.wrap(y, &a.shape)
    }

    pub(super) fn mul_op(
        &self,
        a: &GenericTensor<E, D>,
        b: &GenericTensor<E, D>,
    ) -> Result<GenericTensor<E, D>> {
        same_shape("mul", a, b)?;
        let y = a.taped().try_mul(self.other(a, b)?).map_err(library)?;
        self.wrap(y, &a.shape)
    }

    pub(super) fn affine_op(&self, x: &GenericTensor<E, D>, a: f64, b: f64) -> Result<GenericTensor<E, D>> {
        let y = x.taped().try_mul(Self::scalar(a)?).map_err(library)?;
        let y = if b == 0.0 { y } else { y.try_add(Self::scalar(b)?).map_err(library)? };
        self.wrap(y, &x.shape)
    }

    /// 1 where x > 0, else 0.
    fn step(&self, x: &GenericTensor<E, D>) -> Result<Taped<(usize,), E, D>> {
        let values = x.values();
        let positive = values.try_gt(E::zero()).map_err(library)?;
        let [zero, one] = self.zeros_and_ones(values.shape().0)?;
        Ok(positive.try_choose(one, zero).map_err(library)?.put_tape(SharedTape::default()))
    }

    /// min(max(x, 0), 6) as x·mask + 6·(1 − step(6 − x)): dfdx's clamp would hide a NaN.
    fn relu6(&self, x: &GenericTensor<E, D>) -> Result<GenericTensor<E, D>> {
        let below = self.unary_op(Unary::Step, &self.affine_op(&self.detach(x)?, -1.0, 6.0)?)?;
        let inside = self.mul_op(&self.unary_op(Unary::Step, x)?, &below)?;
        let top = self.affine_op(&below, -6.0, 6.0)?;
        self.add_op(&self.mul_op(x, &inside)?, &top)
    }

    pub(super) fn unary_op(&self, op: Unary, x: &GenericTensor<E, D>) -> Result<GenericTensor<E, D>> {
        let t = x.taped();
        let y = match op {
            // dfdx's relu turns NaN into 0, which would hide it.
            Unary::Relu => t.try_mul(self.step(x)?),
            Unary::Step => Ok(self.step(x)?),
            Unary::Exp => t.try_exp(),
            Unary::Ln => t.try_ln(),
            Unary::Tanh => t.try_tanh(),
            Unary::Rsqrt => t.try_sqrt().and_then(Tensor::try_recip),
            Unary::Recip => t.try_recip(),
            Unary::Sigmoid => t.try_sigmoid(),
            Unary::Silu => t.clone().try_sigmoid().and_then(|sigmoid| t.try_mul(sigmoid)),
            Unary::Relu6 => return self.relu6(x),
            Unary::NormalCdf => return composed::normal_cdf(self, x),
            Unary::Gelu => return self.mul_op(x, &composed::normal_cdf(self, x)?),
        };
        self.wrap(y.map_err(library)?, &x.shape)
    }

    pub(super) fn matmul_op(
        &self,
        a: &GenericTensor<E, D>,
        b: &GenericTensor<E, D>,
    ) -> Result<GenericTensor<E, D>> {
        let (x, y) = (a.taped(), self.other(a, b)?);
        match (&a.shape[..], &b.shape[..]) {
            (&[m, k], &[k2, n]) if k == k2 => {
                let x = x.try_reshape_like(&(m, k)).map_err(library)?;
                let y = y.try_reshape_like(&(k, n)).map_err(library)?;
                self.wrap(x.try_matmul(y).map_err(library)?, &[m, n])
            }
            (&[batch, m, k], &[batch2, k2, n]) if k == k2 && batch == batch2 => {
                let x = x.try_reshape_like(&(batch, m, k)).map_err(library)?;
                let y = y.try_reshape_like(&(batch, k, n)).map_err(library)?;
                self.wrap(x.try_matmul(y).map_err(library)?, &[batch, m, n])
            }
            (lhs, rhs) => Err(Error::ShapeMismatch { op: "matmul", lhs: lhs.to_vec(), rhs: rhs.to_vec() }),
        }
    }

    pub(super) fn sum_op(&self, x: &GenericTensor<E, D>, axes: &[usize]) -> Result<GenericTensor<E, D>> {
        if axes.iter().any(|&axis| axis >= x.shape.len()) {
            return invalid("sum", format!("one with axes {axes:?}"), &x.shape);
        }
        let mut y = x.clone();
        for &axis in axes {
            let mut shape = y.shape.to_vec();
            let (before, mut n, after) = around(&shape, axis);
            let mut flat = y.taped();
            while n > 1 {
                // Row by row, so that no sum is longer than it must be.
                let short = if n > LONG { rows(n) } else { 1 };
                let (outer, inner) = if short > 1 { (short, n / short) } else { (1, n) };
                let view = flat.try_reshape_like(&(before * outer, inner, after)).map_err(library)?;
                let summed: Taped<(usize, usize), E, D> =
                    view.try_sum::<(usize, usize), Axis<1>>().map_err(library)?;
                flat = summed.try_reshape_like(&(before * outer * after,)).map_err(library)?;
                n = outer;
            }
            shape[axis] = 1;
            if y.shape[axis] == 0 {
                let zeros = vec![E::zero(); shape.iter().product()];
                y = self.tensor("sum", zeros, &shape)?;
            } else if y.shape[axis] == 1 {
                continue;
            } else {
                y = self.wrap(flat, &shape)?;
            }
        }
        Ok(y)
    }

    pub(super) fn broadcast_op(&self, x: &GenericTensor<E, D>, to: &[usize]) -> Result<GenericTensor<E, D>> {
        let fits =
            x.shape.len() == to.len() && x.shape.iter().zip(to).all(|(&from, &to)| from == to || from == 1);
        if !fits {
            return Err(Error::ShapeMismatch { op: "broadcast", lhs: x.shape.to_vec(), rhs: to.to_vec() });
        }
        let mut y = x.clone();
        // Innermost first: the intermediate results stay small.
        for axis in (0..to.len()).rev() {
            if y.shape[axis] == to[axis] {
                continue;
            }
            let mut shape = y.shape.to_vec();
            let (before, _, after) = around(&shape, axis);
            let view = y.taped().try_reshape_like(&(before, after)).map_err(library)?;
            let wide = view.try_broadcast_like::<_, Axis<1>>(&(before, to[axis], after)).map_err(library)?;
            shape[axis] = to[axis];
            y = self.wrap(wide, &shape)?;
        }
        Ok(y)
    }

    /// Any permutation as a sequence of exchanges of neighbouring blocks: `(a, b, c, d)` → `(a, c, b, d)`.
    pub(super) fn permute_op(&self, x: &GenericTensor<E, D>, axes: &[usize]) -> Result<GenericTensor<E, D>> {
        let rank = x.shape.len();
        if axes.len() != rank || (0..rank).any(|axis| !axes.contains(&axis)) {
            return invalid("permute", format!("one whose axes {axes:?} permutes"), &x.shape);
        }
        let mut y = x.clone();
        let mut now: Vec<usize> = (0..rank).collect();
        for i in 0..rank {
            let Some(j) = now.iter().position(|axis| *axis == axes[i]) else { continue };
            if j == i {
                continue;
            }
            let mut shape = y.shape.to_vec();
            let (a, b, c, d) = (
                shape[..i].iter().product::<usize>(),
                shape[i..j].iter().product::<usize>(),
                shape[j],
                shape[j + 1..].iter().product::<usize>(),
            );
            let moved = shape.remove(j);
            shape.insert(i, moved);
            let moved = now.remove(j);
            now.insert(i, moved);
            if b == 1 && c == 1 {
                // With both blocks of length 1, dfdx would return the same tensor: the identity stays too.
                y = GenericTensor { shape: shape.into(), ..y };
                continue;
            }
            let view = y.taped().try_reshape_like(&(a, b, c, d)).map_err(library)?;
            let turned: Taped<(usize, usize, usize, usize), E, D> =
                view.try_permute::<_, Axes4<0, 2, 1, 3>>().map_err(library)?;
            y = self.wrap(turned, &shape)?;
        }
        Ok(y)
    }

    pub(super) fn gather_op(
        &self,
        x: &GenericTensor<E, D>,
        axis: usize,
        indices: &[Option<usize>],
    ) -> Result<GenericTensor<E, D>> {
        let in_range = |length: usize| length > 0 && indices.iter().flatten().all(|&index| index < length);
        if !x.shape.get(axis).is_some_and(|&length| in_range(length)) {
            return invalid("gather", format!("one whose axis {axis} has every index"), &x.shape);
        }
        let mut shape = x.shape.to_vec();
        let (before, length, after) = around(&shape, axis);
        let count = indices.len();
        shape[axis] = count;
        let table = self.table(indices)?;
        let view = x.taped().try_reshape_like(&(before, length, after)).map_err(library)?;
        let first: Taped<(usize, usize, usize), E, D> =
            view.try_permute::<_, Axes3<1, 0, 2>>().map_err(library)?;
        let mut picked: Taped<(usize, usize, usize), E, D> =
            first.try_gather(table.indices.clone()).map_err(library)?;
        if let Some(present) = &table.present {
            let mask = present
                .clone()
                .put_tape(SharedTape::default())
                .try_broadcast_like::<_, dfdx::prelude::Axes2<1, 2>>(&(count, before, after))
                .map_err(library)?;
            picked = picked.try_mul(mask).map_err(library)?;
        }
        let back: Taped<(usize, usize, usize), E, D> =
            picked.try_permute::<_, Axes3<1, 0, 2>>().map_err(library)?;
        self.wrap(back, &shape)
    }

    pub(super) fn max_last_op(&self, x: &GenericTensor<E, D>) -> Result<GenericTensor<E, D>> {
        let Some((&width, outer)) = x.shape.split_last().filter(|(width, _)| **width > 0) else {
            return invalid("max_last", "a last axis that is not empty".into(), &x.shape);
        };
        let shape: Vec<usize> = outer.iter().copied().chain([1]).collect();
        let rows: usize = outer.iter().product();
        let view = x.values().try_reshape_like(&(rows, width)).map_err(library)?;
        let max: Tensor<(usize,), E, D> = view.try_max::<(usize,), Axis<1>>().map_err(library)?;
        self.wrap(max.put_tape(SharedTape::default()), &shape)
    }
}
