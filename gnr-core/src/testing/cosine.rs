//! The one-dimensional losses of Figure 1a.

use super::Problem;

/// The loss cos(frequency·πθ + π): Figure 1a of the paper has the frequencies 1 (flat minimum at 0) and 3 (sharp
/// minimum at 0).
///
/// At θ = 0 with ρ = 1: R_SAM = 2 for both, R_GNR = frequency·π.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine1d {
    /// The number of periods in [−1, 1].
    pub frequency: f64,
}

impl Cosine1d {
    fn omega(&self) -> f64 {
        self.frequency * std::f64::consts::PI
    }
}

impl Problem for Cosine1d {
    fn dim(&self) -> usize {
        1
    }
    /// Computes cos(x + π) as −cos x, so that θ = 0 is exactly critical.
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let x = self.omega() * theta[0];
        (-x.cos(), vec![self.omega() * x.sin()])
    }
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        vec![self.omega() * self.omega() * (self.omega() * theta[0]).cos() * v[0]]
    }
}
