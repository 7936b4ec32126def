//! Rosenbrock's curved valley.

use super::Problem;

/// The function Σᵢ 100(θᵢ₊₁ − θᵢ²)² + (1 − θᵢ)². Its minimum is 0 at (1, …, 1); it is not convex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rosenbrock {
    /// The number of variables, at least 2.
    pub dim: usize,
}

impl Problem for Rosenbrock {
    fn dim(&self) -> usize {
        self.dim
    }
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let (mut value, mut grad) = (0.0, vec![0.0; self.dim]);
        for i in 0..self.dim.saturating_sub(1) {
            let (bend, short) = (theta[i + 1] - theta[i] * theta[i], 1.0 - theta[i]);
            value += 100.0 * bend * bend + short * short;
            grad[i] += -400.0 * theta[i] * bend - 2.0 * short;
            grad[i + 1] += 200.0 * bend;
        }
        (value, grad)
    }
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dim];
        for i in 0..self.dim.saturating_sub(1) {
            let diagonal = 1200.0 * theta[i] * theta[i] - 400.0 * theta[i + 1] + 2.0;
            let cross = -400.0 * theta[i];
            out[i] += diagonal * v[i] + cross * v[i + 1];
            out[i + 1] += cross * v[i] + 200.0 * v[i + 1];
        }
        out
    }
}
