//! Operations that move or sum elements without mixing values: sum, broadcast, reshape, permute, gather, maximum of
//! rows.

use std::rc::Rc;

use gnr_nn::{Error, Result};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    gather::{self, AxisView},
    permute, reduce,
};

use super::{Cpu, tensor::Tensor};

fn invalid<T>(op: &'static str, expected: String, found: &[usize]) -> Result<T> {
    Err(Error::InvalidShape { op, expected, found: found.to_vec() })
}

impl<E: Elem> Cpu<E> {
    pub(super) fn sum_op(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        if axes.iter().any(|&axis| axis >= x.shape.len()) {
            return invalid("sum", format!("one with axes {axes:?}"), &x.shape);
        }
        let reduced = |(axis, &length): (usize, &usize)| if axes.contains(&axis) { 1 } else { length };
        let shape: Vec<usize> = x.shape.iter().enumerate().map(reduced).collect();
        let output = || {
            let mut y = Buf::new(shape.iter().product());
            reduce::sum_axes(x.data(), &x.shape, axes, &mut y);
            y
        };
        let (to_x, from, to) = (x.target(), shape.clone(), Rc::clone(&x.shape));
        self.linear_op("sum", &shape, &[x], output, move |g| {
            let mut out = Buf::new(to.iter().product());
            permute::broadcast(&g, &from, &to, &mut out);
            to_x.add(out);
        })
    }

    pub(super) fn broadcast_op(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        let fits = x.shape.len() == shape.len()
            && x.shape.iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
        if !fits {
            return Err(Error::ShapeMismatch { op: "broadcast", lhs: x.shape.to_vec(), rhs: shape.to_vec() });
        }
        if x.shape[..] == *shape {
            return Ok(x.clone());
        }
        let output = || {
            let mut y = Buf::new(shape.iter().product());
            permute::broadcast(x.data(), &x.shape, shape, &mut y);
            y
        };
        let (to_x, from, to) = (x.target(), Rc::clone(&x.shape), shape.to_vec());
        self.linear_op("broadcast", shape, &[x], output, move |g| {
            let axes: Vec<usize> = (0..to.len()).filter(|&axis| from[axis] != to[axis]).collect();
            let mut out = Buf::new(from.iter().product());
            reduce::sum_axes(&g, &to, &axes, &mut out);
            to_x.add(out);
        })
    }

    /// Returns a tensor that shares elements and adjoint with x, so nothing is recorded.
    pub(super) fn reshape_op(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        if shape.iter().product::<usize>() != x.len() {
            return Err(Error::ShapeMismatch { op: "reshape", lhs: x.shape.to_vec(), rhs: shape.to_vec() });
        }
        Ok(x.reshaped(shape))
    }

    pub(super) fn permute_op(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        let rank = x.shape.len();
        if axes.len() != rank || (0..rank).any(|axis| !axes.contains(&axis)) {
            return invalid("permute", format!("one whose axes {axes:?} permutes"), &x.shape);
        }
        let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
        let output = || {
            let mut y = Buf::new(x.len());
            permute::permute(x.data(), &x.shape, axes, &mut y);
            y
        };
        let mut inverse = vec![0; rank];
        for (to, &from) in axes.iter().enumerate() {
            inverse[from] = to;
        }
        let (to_x, from) = (x.target(), shape.clone());
        self.linear_op("permute", &shape, &[x], output, move |g| {
            let mut out = Buf::new(g.len());
            permute::permute(&g, &from, &inverse, &mut out);
            to_x.add(out);
        })
    }

    pub(super) fn gather_op(
        &self,
        x: &Tensor<E>,
        axis: usize,
        indices: &[Option<usize>],
    ) -> Result<Tensor<E>> {
        let view = match AxisView::new(&x.shape, axis) {
            Some(view) if indices.iter().flatten().all(|&index| index < view.axis) => view,
            _ => return invalid("gather", format!("one whose axis {axis} has every index"), &x.shape),
        };
        let mut shape = x.shape.to_vec();
        shape[axis] = indices.len();
        let output = || {
            let mut y = Buf::new(shape.iter().product());
            gather::gather(x.data(), view, indices, &mut y);
            y
        };
        let (to_x, table) = (x.target(), indices.to_vec());
        self.linear_op("gather", &shape, &[x], output, move |g| {
            to_x.write(|out, accum| gather::scatter_add(&g, view, &table, out, accum));
        })
    }

    /// The maximum of each row, detached. A NaN is the maximum, so that it stays visible.
    pub(super) fn max_last_op(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        let Some((&width, outer)) = x.shape.split_last().filter(|(width, _)| **width > 0) else {
            return invalid("max_last", "a last axis that is not empty".into(), &x.shape);
        };
        let larger = |max: E, &v: &E| if v > max || v.is_nan() { v } else { max };
        let rows = x.data().chunks(width).map(|row| row.iter().fold(E::neg_infinity(), larger));
        let shape: Vec<usize> = outer.iter().copied().chain([1]).collect();
        Ok(Tensor::new(Buf::from(rows.collect::<Vec<_>>()), &shape))
    }
}
