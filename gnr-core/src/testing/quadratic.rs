//! A quadratic with a given Hessian.

use super::Problem;
use crate::{Error, Result, random::SplitMix64};

/// The quadratic L̂(θ) = θᵀAθ/2 + bᵀθ with a symmetric A: gradient Aθ + b, Hessian A everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadratic {
    rows: Vec<Vec<f64>>,
    linear: Vec<f64>,
}

impl Quadratic {
    /// The quadratic of a matrix A, given by rows; b = 0.
    ///
    /// # Errors
    /// [`Error::Oracle`] when the matrix is not square or not symmetric.
    pub fn new(rows: Vec<Vec<f64>>) -> Result<Self> {
        let n = rows.len();
        for (i, row) in rows.iter().enumerate() {
            if row.len() != n {
                return Err(Error::Oracle(format!("row {i} of a {n}×{n} matrix has {} entries", row.len())));
            }
        }
        for (i, row) in rows.iter().enumerate() {
            if let Some(j) = (0..i).find(|&j| row[j] != rows[j][i]) {
                return Err(Error::Oracle(format!("entries ({i}, {j}) and ({j}, {i}) differ")));
            }
        }
        Ok(Self { rows, linear: vec![0.0; n] })
    }

    /// A quadratic with a diagonal Hessian; b = 0.
    pub fn diagonal(eigenvalues: &[f64]) -> Self {
        let n = eigenvalues.len();
        let row = |i: usize| (0..n).map(|j| if i == j { eigenvalues[i] } else { 0.0 }).collect();
        Self { rows: (0..n).map(row).collect(), linear: vec![0.0; n] }
    }

    /// A quadratic with a dense Hessian QΛQᵀ of the given spectrum, Q a product of `eigenvalues.len()` random
    /// reflections; b = 0.
    pub fn with_spectrum(eigenvalues: &[f64], seed: u64) -> Self {
        let n = eigenvalues.len();
        let mut random = SplitMix64::new(seed);
        let mut rows = Self::diagonal(eigenvalues).rows;
        for _ in 0..n {
            // A ← (I − 2uuᵀ)A(I − 2uuᵀ) = A − 2uwᵀ − 2wuᵀ + 4(uᵀw)uuᵀ with w = Au.
            let u = random.normals(n);
            let norm = dot(&u, &u).sqrt();
            let u: Vec<_> = u.iter().map(|x| x / norm).collect();
            let w: Vec<_> = rows.iter().map(|row| dot(row, &u)).collect();
            let c = dot(&u, &w);
            for i in 0..n {
                for j in 0..=i {
                    let value = rows[i][j] - 2.0 * (u[i] * w[j] + w[i] * u[j]) + 4.0 * c * u[i] * u[j];
                    (rows[i][j], rows[j][i]) = (value, value);
                }
            }
        }
        Self { rows, linear: vec![0.0; n] }
    }

    /// Adds the linear term bᵀθ.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] unless b has as many elements as the problem has variables.
    pub fn with_linear(mut self, b: Vec<f64>) -> Result<Self> {
        crate::vector::same_dim("linear term", self.linear.len(), b.len())?;
        self.linear = b;
        Ok(self)
    }
}

impl Problem for Quadratic {
    fn dim(&self) -> usize {
        self.rows.len()
    }
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let product = self.hvp(theta, theta);
        let value = dot(&product, theta) / 2.0 + dot(&self.linear, theta);
        (value, product.iter().zip(&self.linear).map(|(p, b)| p + b).collect())
    }
    fn hvp(&self, _: &[f64], v: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|row| dot(row, v)).collect()
    }
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
