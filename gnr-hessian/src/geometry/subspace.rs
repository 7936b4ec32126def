//! Lines and planes in the parameter space: an origin, a few directions, and coordinates along them.

use gnr_core::{GradOracle, Vector};

use crate::{
    Error, Result,
    dense::{Square, eigh},
};

/// The points origin + Σ cₖ·axisₖ. The axes need be neither orthogonal nor of norm 1; a point between two checkpoints
/// is the first one and an axis to the second.
#[derive(Clone, Debug)]
pub struct Subspace<V> {
    origin: V,
    axes: Vec<V>,
}

impl<V: Vector> Subspace<V> {
    /// The subspace through `origin` along `axes`.
    ///
    /// # Errors
    /// [`Error::Configuration`] without axes, or where one is zero or not finite;
    /// [`gnr_core::Error::DimensionMismatch`].
    pub fn new(origin: V, axes: Vec<V>) -> Result<Self> {
        if axes.is_empty() {
            return Err(Error::Configuration("a line or plane needs a direction".into()));
        }
        for (index, axis) in axes.iter().enumerate() {
            origin.dot(axis)?;
            if axis.norm()? == 0.0 {
                return Err(Error::Configuration(format!("direction {} is zero", index + 1)));
            }
        }
        Ok(Self { origin, axes })
    }

    /// The point whose coordinates are all 0.
    pub fn origin(&self) -> &V {
        &self.origin
    }

    /// The directions of the axes.
    pub fn axes(&self) -> &[V] {
        &self.axes
    }

    /// The point with these coordinates; missing ones are 0.
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn point(&self, coordinates: &[f64]) -> Result<V> {
        let mut point = self.origin.clone();
        for (axis, &coordinate) in self.axes.iter().zip(coordinates) {
            if coordinate != 0.0 {
                point.axpy(coordinate, axis)?;
            }
        }
        Ok(point)
    }

    /// L̂ at the point with these coordinates.
    ///
    /// # Errors
    /// The errors of the oracle; a loss that is not finite.
    ///
    /// # Cost
    /// One [`GradOracle::loss`].
    pub fn loss<O: GradOracle<Vector = V>>(&self, oracle: &mut O, coordinates: &[f64]) -> Result<f64> {
        Ok(oracle.loss(&self.point(coordinates)?)?)
    }

    /// The coordinates of the point of the subspace that is nearest to `point`, and the distance to it: least squares.
    /// Where axes depend on each other, the coordinates are those of least norm.
    ///
    /// # Errors
    /// A failure of the backend.
    ///
    /// # Cost
    /// Inner products only, one for each pair of axes and one for each axis.
    pub fn project(&self, point: &V) -> Result<(Vec<f64>, f64)> {
        let n = self.axes.len();
        let mut displacement = point.clone();
        displacement.axpy(-1.0, &self.origin)?;
        let mut gram = Square::zeros(n);
        let mut right = Vec::with_capacity(n);
        for i in 0..n {
            right.push(self.axes[i].dot(&displacement)?);
            for j in 0..=i {
                let product = self.axes[i].dot(&self.axes[j])?;
                (*gram.at(i, j), *gram.at(j, i)) = (product, product);
            }
        }
        let spectrum = eigh(&gram);
        let largest = spectrum.values.last().copied().unwrap_or_default();
        let mut coordinates = vec![0.0; n];
        for (value, u) in spectrum.values.iter().zip(&spectrum.vectors) {
            // Smaller eigenvalues are rounding errors of the inner products.
            if *value > 1e-12 * largest {
                let along = u.iter().zip(&right).map(|(u, b)| u * b).sum::<f64>() / value;
                coordinates.iter_mut().zip(u).for_each(|(c, u)| *c += along * u);
            }
        }
        for (axis, coordinate) in self.axes.iter().zip(&coordinates) {
            displacement.axpy(-coordinate, axis)?;
        }
        Ok((coordinates, displacement.norm()?))
    }
}

/// `count` equidistant numbers from `low` to `high`, both included, each within rounding. Integers as ends are exact,
/// and the middle between opposite ends is exactly 0. With `count` = 1 the number is `low`.
pub fn linspace(low: f64, high: f64, count: usize) -> Vec<f64> {
    let steps = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| (low * (steps - i as f64) + high * i as f64) / steps).collect()
}
