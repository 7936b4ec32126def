//! Flat, row-major positions for the operations that only move data.

use crate::{Error, Result};

/// A shape as seen from one axis: `[outer, length, inner]`.
pub(super) struct Axes {
    pub(super) outer: usize,
    pub(super) length: usize,
    pub(super) inner: usize,
}

pub(super) fn axes_of(shape: &[usize], axis: usize) -> Axes {
    Axes {
        outer: shape[..axis].iter().product(),
        length: shape[axis],
        inner: shape[axis + 1..].iter().product(),
    }
}

/// The distance in memory between neighbours along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| axes_of(shape, axis).inner).collect()
}

/// The position Σ index[axis]·stride[axis] for every index of `shape` in row-major order.
fn positions(shape: &[usize], strides: &[usize]) -> Vec<Option<u32>> {
    let mut positions = vec![0usize];
    for (&length, &stride) in shape.iter().zip(strides) {
        positions = positions.iter().flat_map(|base| (0..length).map(move |i| base + i * stride)).collect();
    }
    positions.into_iter().map(|position| u32::try_from(position).ok()).collect()
}

/// For each element of `large`, the element of `small` that it copies: axes of length 1 repeat.
pub(super) fn broadcast(op: &'static str, small: &[usize], large: &[usize]) -> Result<Vec<Option<u32>>> {
    let fits = small.len() == large.len() && small.iter().zip(large).all(|(s, l)| s == l || *s == 1);
    if !fits {
        return Err(Error::ShapeMismatch { op, lhs: small.to_vec(), rhs: large.to_vec() });
    }
    let strides: Vec<_> = strides(small)
        .iter()
        .zip(small)
        .map(|(&stride, &length)| if length == 1 { 0 } else { stride })
        .collect();
    Ok(positions(large, &strides))
}

pub(super) fn permute(shape: &[usize], axes: &[usize]) -> Result<(Vec<usize>, Vec<Option<u32>>)> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        let expected = format!("the axes {axes:?}, each once");
        return Err(Error::InvalidShape { op: "permute", expected, found: shape.to_vec() });
    }
    let strides = strides(shape);
    let permuted = |from: &[usize]| -> Vec<usize> { axes.iter().map(|&axis| from[axis]).collect() };
    let result = permuted(shape);
    let source = positions(&result, &permuted(&strides));
    Ok((result, source))
}

pub(super) fn gather(
    shape: &[usize],
    axis: usize,
    indices: &[Option<usize>],
) -> Result<(Vec<usize>, Vec<Option<u32>>)> {
    let needed = indices.iter().flatten().max().map_or(0, |&max| max + 1);
    if shape.get(axis).is_none_or(|&length| length < needed) {
        let expected = format!("an axis {axis} of at least {needed}");
        return Err(Error::InvalidShape { op: "gather", expected, found: shape.to_vec() });
    }
    let Axes { outer, length, inner } = axes_of(shape, axis);
    let mut result = shape.to_vec();
    result[axis] = indices.len();
    let mut source = Vec::with_capacity(outer * indices.len() * inner);
    for o in 0..outer {
        for &index in indices {
            let start = index.map(|index| (o * length + index) * inner);
            source.extend((0..inner).map(|i| u32::try_from(start? + i).ok()));
        }
    }
    Ok((result, source))
}
