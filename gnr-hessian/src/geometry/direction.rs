//! Random directions made comparable between networks: filter normalisation.

use crate::{Error, Result};

/// The scaling of a direction before it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// The whole direction gets norm 1: distances are distances in the parameter space, as in Figure 1b.
    Unit,
    /// Every filter gets the norm of θ's filter, so that a step of 1 is as long as the weights at any scale. (A
    /// BatchNorm makes the scale of the weights before it meaningless.) A filter is a slice `[i, ...]` of a tensor of
    /// two or more dimensions, the weights of one output unit.
    Filter,
    /// Every tensor gets the norm of θ's tensor.
    Layer,
}

/// The treatment of tensors with a single dimension (biases, scale and shift of BatchNorm) under [`Scaling::Filter`]
/// and [`Scaling::Layer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmallTensors {
    /// The direction is 0 there, as in the paper's pictures (`ignore="biasbn"` of its code). Default.
    #[default]
    Fixed,
    /// Each such tensor is scaled as one filter.
    Scaled,
}

/// Scales `direction`, one row-major tensor for each of `shapes`, by the norms of `theta`.
///
/// A filter that is 0 in θ does not move; one that is 0 in the direction stays 0. Running statistics of BatchNorm are
/// no parameters: they stay as they are at θ (evaluate in train mode to have them follow).
///
/// # Errors
/// [`Error::Configuration`] when the tensors do not fit the shapes, or when nothing is left of the direction.
///
/// # References
/// Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018, Section 4.
///
/// # Deviation
/// The paper's code, when told not to ignore small tensors, copies θ into the direction there; [`SmallTensors::Scaled`]
/// keeps the direction random.
pub fn scale_direction(
    direction: &mut [Vec<f64>],
    theta: &[Vec<f64>],
    shapes: &[Vec<usize>],
    scaling: Scaling,
    small: SmallTensors,
) -> Result<()> {
    let fits = direction.len() == shapes.len()
        && theta.len() == shapes.len()
        && (shapes.iter().zip(direction.iter().zip(theta)))
            .all(|(shape, (d, t))| d.len() == shape.iter().product() && d.len() == t.len());
    if !fits {
        return Err(Error::Configuration("direction, point and shapes are not of one network".into()));
    }
    if scaling == Scaling::Unit {
        let norm = norm(direction.iter().flatten());
        scale(direction.iter_mut().flatten(), if norm > 0.0 { 1.0 / norm } else { 0.0 });
    } else {
        for ((d, t), shape) in direction.iter_mut().zip(theta).zip(shapes) {
            if shape.len() < 2 && small == SmallTensors::Fixed {
                d.fill(0.0);
                continue;
            }
            let filters = if scaling == Scaling::Filter && shape.len() > 1 { shape[0] } else { 1 };
            let length = (d.len() / filters.max(1)).max(1);
            for (d, t) in d.chunks_mut(length).zip(t.chunks(length)) {
                let own = norm(d.iter());
                scale(d.iter_mut(), if own > 0.0 { norm(t.iter()) / own } else { 0.0 });
            }
        }
    }
    if direction.iter().flatten().all(|d| *d == 0.0) {
        return Err(Error::Configuration(
            "nothing is left of the direction: every tensor that moves is 0 or has one dimension".into(),
        ));
    }
    Ok(())
}

fn norm<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

fn scale<'a>(values: impl Iterator<Item = &'a mut f64>, a: f64) {
    values.for_each(|x| *x *= a);
}
