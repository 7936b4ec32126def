//! A two-layer tanh network with a gradient and Hessian-vector product written by hand.

use super::{GgnProblem, MeanProblem, OutputProblem, Problem, quadratic::dot};
use crate::{Outputs, random::SplitMix64};
use std::ops::Range;

/// The mean over examples of (w₂ᵀ tanh(W₁x + b₁) + b₂ − y)²/2, with θ = (W₁ by rows, b₁, w₂, b₂). The loss is smooth
/// and not convex.
#[derive(Clone, Debug, PartialEq)]
pub struct TanhMlp {
    inputs: usize,
    hidden: usize,
    data: Vec<(Vec<f64>, f64)>,
}

impl TanhMlp {
    /// Draws normal inputs and targets.
    pub fn random(examples: usize, inputs: usize, hidden: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let data = (0..examples).map(|_| (random.normals(inputs), random.normal())).collect();
        Self::new(inputs, hidden, data)
    }

    /// A network with so many inputs and hidden units on given examples, each with inputs and target.
    pub fn new(inputs: usize, hidden: usize, data: Vec<(Vec<f64>, f64)>) -> Self {
        Self { inputs, hidden, data }
    }

    /// The network on a range of its examples, cut to those that exist.
    pub fn batch(&self, examples: Range<usize>) -> Self {
        let data = self.data.iter().skip(examples.start).take(examples.len()).cloned().collect();
        Self { inputs: self.inputs, hidden: self.hidden, data }
    }

    /// The gradient of the output in θ at an input.
    fn jacobian(&self, theta: &[f64], x: &[f64]) -> Vec<f64> {
        let (mut jacobian, last) = (vec![0.0; self.dim()], self.dim() - 1);
        for j in 0..self.hidden {
            let (row, bias, outer) = self.unit(theta, j);
            let a = (dot(row, x) + bias).tanh();
            self.add_unit(&mut jacobian, j, x, outer * (1.0 - a * a), a);
        }
        jacobian[last] = 1.0;
        jacobian
    }

    /// The parameters of hidden unit j: row j of W₁, b₁[j], w₂[j].
    fn unit<'t>(&self, theta: &'t [f64], j: usize) -> (&'t [f64], f64, f64) {
        let bias = self.inputs * self.hidden;
        (&theta[j * self.inputs..(j + 1) * self.inputs], theta[bias + j], theta[bias + self.hidden + j])
    }

    /// Adds to `out` the derivatives of one unit's parameters: of W₁ row j and b₁[j] through the pre-activation, of
    /// w₂[j].
    fn add_unit(&self, out: &mut [f64], j: usize, x: &[f64], pre: f64, outer: f64) {
        let bias = self.inputs * self.hidden;
        let row = &mut out[j * self.inputs..(j + 1) * self.inputs];
        row.iter_mut().zip(x).for_each(|(o, x)| *o += pre * x);
        out[bias + j] += pre;
        out[bias + self.hidden + j] += outer;
    }
}

impl Problem for TanhMlp {
    fn dim(&self) -> usize {
        self.hidden * (self.inputs + 2) + 1
    }

    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let (mut value, mut grad) = (0.0, vec![0.0; self.dim()]);
        let (n, last) = (self.data.len() as f64, self.dim() - 1);
        for (x, y) in &self.data {
            let mut residual = theta[last] - y;
            let mut activations = Vec::with_capacity(self.hidden);
            for j in 0..self.hidden {
                let (row, bias, outer) = self.unit(theta, j);
                let a = (dot(row, x) + bias).tanh();
                residual += outer * a;
                activations.push(a);
            }
            value += residual * residual / 2.0 / n;
            let r = residual / n;
            for (j, &a) in activations.iter().enumerate() {
                let (_, _, outer) = self.unit(theta, j);
                self.add_unit(&mut grad, j, x, r * outer * (1.0 - a * a), r * a);
            }
            grad[last] += r;
        }
        (value, grad)
    }

    /// Computes the product by Pearlmutter's R-operator: a dot marks the derivative along `v` of each quantity of the
    /// gradient's computation.
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dim()];
        let (n, last) = (self.data.len() as f64, self.dim() - 1);
        for (x, y) in &self.data {
            let (mut residual, mut residual_dot) = (theta[last] - y, v[last]);
            let mut activations = Vec::with_capacity(self.hidden);
            for j in 0..self.hidden {
                let ((row, bias, outer), (row_dot, bias_dot, outer_dot)) =
                    (self.unit(theta, j), self.unit(v, j));
                let a = (dot(row, x) + bias).tanh();
                let a_dot = (1.0 - a * a) * (dot(row_dot, x) + bias_dot);
                residual += outer * a;
                residual_dot += outer_dot * a + outer * a_dot;
                activations.push((a, a_dot));
            }
            let (r, r_dot) = (residual / n, residual_dot / n);
            for (j, &(a, a_dot)) in activations.iter().enumerate() {
                let ((_, _, outer), (_, _, outer_dot)) = (self.unit(theta, j), self.unit(v, j));
                let slope = 1.0 - a * a;
                let pre_dot = (r_dot * outer + r * outer_dot) * slope - 2.0 * r * outer * a * a_dot;
                self.add_unit(&mut out, j, x, pre_dot, r_dot * a + r * a_dot);
            }
            out[last] += r_dot;
        }
        out
    }
}

/// The loss's second derivative in the output is 1, so G is the mean of Jᵀ·J.
impl GgnProblem for TanhMlp {
    fn ggn(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dim()];
        for (x, _) in &self.data {
            let jacobian = self.jacobian(theta, x);
            let along = dot(&jacobian, v) / self.data.len() as f64;
            out.iter_mut().zip(&jacobian).for_each(|(o, j)| *o += along * j);
        }
        out
    }
}

/// The network has one output an example.
impl OutputProblem for TanhMlp {
    fn outputs(&self, theta: &[f64]) -> Outputs {
        let output = |x: &[f64]| {
            let unit = |j| {
                let (row, bias, outer) = self.unit(theta, j);
                outer * (dot(row, x) + bias).tanh()
            };
            (0..self.hidden).map(unit).sum::<f64>() + theta[self.dim() - 1]
        };
        Outputs::column(self.data.iter().map(|(x, _)| output(x)).collect())
    }
    fn pull_back(&self, theta: &[f64], u: &Outputs) -> Vec<f64> {
        let mut out = vec![0.0; self.dim()];
        for ((x, _), u) in self.data.iter().zip(u.values()) {
            out.iter_mut().zip(self.jacobian(theta, x)).for_each(|(o, j)| *o += u * j);
        }
        out
    }
}

impl MeanProblem for TanhMlp {
    fn examples(&self) -> usize {
        self.data.len()
    }
    fn part(&self, rows: &[usize]) -> Self {
        let data = rows.iter().filter_map(|&row| self.data.get(row).cloned()).collect();
        Self { inputs: self.inputs, hidden: self.hidden, data }
    }
}
