//! Objectives with a known gradient and Hessian, and the suites that every oracle, vector and optimiser must pass.
//!
//! For tests (feature `testing`): the suites panic with a message that says what went wrong, as assertions do.

pub mod conformance;
mod cosine;
mod logistic;
mod mlp;
mod problem;
mod quadratic;
mod rosenbrock;
mod threads;

pub use cosine::Cosine1d;
pub use logistic::LogisticRegression;
pub use mlp::TanhMlp;
pub use problem::{GgnProblem, MeanProblem, OutputProblem, Problem, ProblemOracle};
pub use quadratic::Quadratic;
pub use rosenbrock::Rosenbrock;
pub use threads::Threads;
