//! Binary logistic regression: a convex loss, and a mean over examples that can be cut into batches.

use super::{GgnProblem, Problem, quadratic::dot};
use crate::random::SplitMix64;
use std::ops::Range;

/// The mean over examples of log(1 + exp(−yᵢ xᵢᵀθ)), with labels yᵢ = ±1.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    dim: usize,
    /// The products yᵢ·xᵢ of labels and features.
    signed: Vec<Vec<f64>>,
}

impl LogisticRegression {
    /// Draws normal features and labels by a random hyperplane; 10 % of the labels are flipped.
    pub fn random(examples: usize, dim: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let plane = random.normals(dim);
        let signed = (0..examples)
            .map(|_| {
                let x = random.normals(dim);
                let flip = if random.uniform() < 0.1 { -1.0 } else { 1.0 };
                let label = flip * dot(&x, &plane).signum();
                x.iter().map(|x| label * x).collect()
            })
            .collect();
        Self { dim, signed }
    }

    /// The number of examples.
    pub fn examples(&self) -> usize {
        self.signed.len()
    }

    /// The problem on a range of its examples, cut to those that exist.
    pub fn batch(&self, examples: Range<usize>) -> Self {
        let signed = self.signed.iter().skip(examples.start).take(examples.len()).cloned().collect();
        Self { dim: self.dim, signed }
    }
}

impl Problem for LogisticRegression {
    fn dim(&self) -> usize {
        self.dim
    }
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let (mut value, mut grad) = (0.0, vec![0.0; self.dim]);
        let n = self.signed.len() as f64;
        for z in &self.signed {
            let margin = dot(z, theta);
            // Computes log(1 + e^−m) without overflow for very negative margins.
            value += ((-margin.abs()).exp().ln_1p() + (-margin).max(0.0)) / n;
            let weight = -sigmoid(-margin) / n;
            grad.iter_mut().zip(z).for_each(|(g, z)| *g += weight * z);
        }
        (value, grad)
    }
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dim];
        for z in &self.signed {
            let margin = dot(z, theta);
            let weight = sigmoid(margin) * sigmoid(-margin) * dot(z, v) / self.signed.len() as f64;
            out.iter_mut().zip(z).for_each(|(o, z)| *o += weight * z);
        }
        out
    }
}

/// The output xᵀθ of the model is linear in θ, so G is the Hessian.
impl GgnProblem for LogisticRegression {
    fn ggn(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        self.hvp(theta, v)
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
