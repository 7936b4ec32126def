//! Gradient norm regularisation for any differentiable objective.
//!
//! The crate knows no network and no tensor library. It sees a point θ as a [`Vector`], and one frozen mini-batch as a
//! [`GradOracle`] (loss and gradient at a point) or [`HvpOracle`] (Hessian-vector products, too). It composes
//!
//! - **regularisers** that change the direction of a step: [`Gnr`] (Algorithm 1 of the paper), [`Sam`], [`Every`],
//!   [`FromStep`], tuples;
//! - **optimisers** that move θ along it: [`Sgd`], [`Adam`], [`AdamW`], the others of [`optimizer`], and [`Grouped`]
//!   for parameter groups;
//! - **schedules**, pure functions of the step;
//! - **averages** of the points that training passes through: [`Ema`], [`Swa`];
//!
//! into a [`Method`], whose [`step`](Method::step) is one iteration of training. [`adapter`] makes oracles of oracles
//! (finite-difference products, micro-batches, counting), and [`measure`] tells how sharp a point is.
//!
//! An objective of your own is one `impl`; [`ForwardDiff`] adds the products that GNR needs:
//!
//! ```
//! use gnr_core::{Clip, Evaluation, ForwardDiff, Gnr, GradOracle, Method, Order, Pass, Result, Sgd};
//!
//! /// L̂(x, y) = (x² − 1)² + y²: two valleys, at x = ±1.
//! struct Valleys;
//!
//! impl GradOracle for Valleys {
//!     type Vector = Vec<f64>;
//!     type Record = ();
//!     fn evaluate<'a>(&mut self, at: &'a Vec<f64>, _: Pass, _: Order) -> Result<Evaluation<'a, Vec<f64>, ()>> {
//!         let bowl = at[0] * at[0] - 1.0;
//!         Evaluation::new(at, bowl * bowl + at[1] * at[1], vec![4.0 * at[0] * bowl, 2.0 * at[1]], ())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let mut method = Method {
//!     regularizer: Gnr::new(0.01, 0.1)?,
//!     optimizer: Sgd::new().with_momentum(0.9)?,
//!     learning_rate: 0.01,
//!     clip: Clip::None,
//! };
//! let mut theta = vec![0.4, 1.0];
//! for t in 0..300 {
//!     let report = method.step(t, &mut theta, &mut ForwardDiff::new(Valleys))?;
//!     assert!(report.loss.is_finite());
//! }
//! assert!((theta[0] - 1.0).abs() < 0.02 && theta[1].abs() < 0.02, "{theta:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `ndarray`: `ndarray::Array1<f32 | f64>` are vectors, beside `Vec`, `Box<[_]>` and arrays;
//! - `testing`: objectives with known answers and the conformance suites that every backend runs.
//!
//! # References
//! "Gradient Norm Regularizer Seeks Flat Minima and Improves Generalization", called "the paper" throughout.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
pub mod average;
mod checkpoint;
pub mod collective;
mod error;
pub mod measure;
mod method;
pub mod optimizer;
mod oracle;
pub mod random;
pub mod registry;
pub mod regularizer;
pub mod schedule;
#[cfg(feature = "testing")]
pub mod testing;
mod vector;

pub use adapter::{
    Accumulated, Central, CentralDiff, Counted, Counter, Counts, DataParallel, Differences, Forward,
    ForwardDiff, Scheme,
};
pub use average::{Average, Ema, Swa};
pub use checkpoint::{Checkpoint, Leaf, Leaves, StateSink, StateSource, Table};
pub use collective::{Collective, Pack, Shares, Solo};
pub use error::{Error, Quantity, Result};
pub use method::{Clip, Method, StepReport};
pub use optimizer::{Adam, AdamW, Grouped, Optimizer, Sgd};
pub use oracle::{
    Evaluation, ExampleOracle, FullOracle, GradOracle, HvpOracle, NormGradient, Order, OutputOracle, Outputs,
    Pass, Point, Products, Sample, SampledOracle, Use, checked_share, finite_gradient, nothing_committed,
};
pub use regularizer::{
    Ahead, AnyRegularizer, Change, Ending, Every, FromStep, Gnr, Needs, OnSample, Penalty, Regularizer, Sam,
    StepContext,
};
pub use schedule::{Cosine, InverseSqrt, Linear, Milestones, Proportional, Schedule, StepDecay, WarmUp};
pub use vector::{
    Elementwise, Map, Matrices, Partition, Real, Signs, Vector, join_leaves, random_signs, split_leaves,
};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
