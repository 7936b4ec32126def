//! The specification of gnr-hessian, one module a subject.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod dense;
mod density;
mod determinism;
mod geometry;
mod lanczos;
mod operators;
mod power_iteration;
mod trace;

use gnr_hessian::{Result, SymmetricOperator};

/// A dense matrix, by rows.
struct Dense(Vec<Vec<f64>>);

impl SymmetricOperator for Dense {
    type Vector = Vec<f64>;
    fn dim(&self) -> usize {
        self.0.len()
    }
    fn matvec(&mut self, v: &Vec<f64>) -> Result<Vec<f64>> {
        Ok(self.0.iter().map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect())
    }
}

/// All eigenvalues of a small symmetric matrix by Jacobi's rotations, by falling modulus.
fn jacobi(mut a: Vec<Vec<f64>>) -> Vec<f64> {
    let n = a.len();
    for _ in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (above, below) = a.split_at_mut(q);
                for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
    }
    let mut eigenvalues: Vec<_> = (0..n).map(|i| a[i][i]).collect();
    eigenvalues.sort_by(|x, y| y.abs().total_cmp(&x.abs()));
    eigenvalues
}
