//! The principal directions of training, from a sequence of checkpoints.

use gnr_core::Vector;

use crate::{
    Error, Result,
    dense::{Square, eigh},
};

/// The directions in which a trajectory varies most.
#[derive(Clone, Debug)]
pub struct PrincipalDirections<V> {
    /// The directions, of norm 1 and orthogonal, by falling variance.
    pub directions: Vec<V>,
    /// The fraction of the variance along each; they sum to at most 1.
    pub explained: Vec<f64>,
}

/// Principal component analysis of `points` (centred): the `count` directions of largest variance.
///
/// The eigenvectors of the points' matrix of inner products give the directions without any matrix of the parameter
/// space's size. A direction's sign is that in which the last point lies beyond the first.
///
/// # Errors
/// [`Error::Configuration`] when the points do not span so many directions; the errors of vectors.
///
/// # Cost
/// One vector for each point and direction, n(n+1)/2 inner products for n points.
///
/// # References
/// Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, Section 7.
pub fn principal_directions<V: Vector>(points: &[V], count: usize) -> Result<PrincipalDirections<V>> {
    let n = points.len();
    if n <= count {
        return Err(Error::Configuration(format!(
            "{n} checkpoints span at most {} directions, {count} are asked for",
            n.saturating_sub(1)
        )));
    }
    // Points are taken relative to the first one: inner products of points that share a large part would lose the
    // digits that matter.
    let mut displacements = points.to_vec();
    for displacement in &mut displacements {
        displacement.axpy(-1.0, &points[0])?;
    }
    let mut gram = Square::zeros(n);
    for i in 0..n {
        for j in 0..=i {
            let product = displacements[i].dot(&displacements[j])?;
            (*gram.at(i, j), *gram.at(j, i)) = (product, product);
        }
    }
    let spectrum = eigh(&centred(&gram));
    let total: f64 = spectrum.values.iter().map(|value| value.max(0.0)).sum();
    let mut found = PrincipalDirections { directions: Vec::new(), explained: Vec::new() };
    for (value, weights) in spectrum.values.iter().zip(&spectrum.vectors).rev().take(count) {
        // A variance this small beside the total is rounding error.
        if value.is_nan() || *value <= 1e-10 * total {
            return Err(Error::Configuration(format!(
                "the checkpoints vary in {} directions only, {count} are asked for",
                found.directions.len()
            )));
        }
        // Σ wᵢ(dᵢ − mean) = Σ wᵢdᵢ, because the weights of a centred matrix sum to 0.
        let sign = if weights[n - 1] < weights[0] { -1.0 } else { 1.0 };
        let mut direction = displacements[0].clone();
        direction.scale(0.0)?;
        for (weight, displacement) in weights.iter().zip(&displacements) {
            direction.axpy(sign * weight, displacement)?;
        }
        let norm = direction.norm()?;
        direction.scale(1.0 / norm)?;
        found.directions.push(direction);
        found.explained.push(value / total);
    }
    Ok(found)
}

/// The centred matrix C·G·C with C = I − 11ᵀ/n.
fn centred(gram: &Square) -> Square {
    let n = gram.n();
    let means: Vec<f64> = (0..n).map(|i| (0..n).map(|j| gram.get(i, j)).sum::<f64>() / n as f64).collect();
    let mean = means.iter().sum::<f64>() / n as f64;
    let mut centred = Square::zeros(n);
    for i in 0..n {
        for j in 0..n {
            *centred.at(i, j) = gram.get(i, j) - means[i] - means[j] + mean;
        }
    }
    centred
}
