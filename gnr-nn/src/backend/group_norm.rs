//! Group normalisation, composed of the batch normalisations that every backend has; where those are fused, it is fast.

use super::{
    Normalisation,
    arithmetic::image_shape,
    normalisation::{BatchStats, Fused},
};
use crate::{Error, Result};

/// Checks x `[N, C, H, W]` against a number of groups and vectors `[C]`; every implementation of the group norm starts
/// with this. Returns N, C, H and W.
///
/// # Errors
/// When `groups` does not divide C, a vector has another length, or x has no element.
pub fn check_groups(x: &[usize], groups: usize, vectors: &[&[usize]]) -> Result<[usize; 4]> {
    let shape = image_shape("group_norm", x)?;
    if shape.contains(&0) {
        let expected = "[N, C, H, W] with at least one element".into();
        return Err(Error::InvalidShape { op: "group_norm", expected, found: x.to_vec() });
    }
    if groups == 0 || !shape[1].is_multiple_of(groups) {
        return Err(Error::Invalid(format!(
            "group_norm: {groups} groups do not divide {} channels",
            shape[1]
        )));
    }
    match vectors.iter().find(|v| **v != [shape[1]]) {
        Some(v) => Err(Error::ShapeMismatch { op: "group_norm", lhs: x.to_vec(), rhs: v.to_vec() }),
        None => Ok(shape),
    }
}

/// Composes [`Normalisation::group_norm`] of two batch normalisations.
///
/// Each group of each sample is a channel of one image `[1, N·G, C/G, H·W]`. A batch normalisation without scale and
/// shift brings it to mean 0 and variance 1. A second one, with mean 0 and variance 1 as constants, scales and shifts
/// each channel, adds the residual and applies the activation.
///
/// # Cost
/// A record holds the normalised maps beside x: one tensor of x's size more than that of a batch normalisation.
///
/// # Errors
/// Shape mismatches, or groups that do not divide the channels.
pub fn group_norm<B: Normalisation>(
    b: &B,
    x: &B::Tensor,
    groups: usize,
    scale: &B::Tensor,
    shift: &B::Tensor,
    eps: f64,
    fused: Fused<'_, B::Tensor>,
) -> Result<B::Tensor> {
    let shape = check_groups(b.shape(x), groups, &[b.shape(scale), b.shape(shift)])?;
    let [n, c, h, w] = shape;
    let all = n * groups;
    let fill = |value: f64, len: usize| b.constant(&vec![value; len], &[len]);
    let rows = b.reshape(x, &[1, all, c / groups, h * w])?;
    let (rows, _) = b.batch_norm(&rows, &fill(1.0, all)?, &fill(0.0, all)?, eps, Fused::default())?;
    let unit = BatchStats { mean: fill(0.0, c)?, var: fill(1.0, c)? };
    b.batch_norm_eval(&b.reshape(&rows, &shape)?, scale, shift, &unit, 0.0, fused)
}
