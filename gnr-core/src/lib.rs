//! Gradient norm regularisation for any differentiable objective.
//!
//! The crate knows no network and no tensor library. It sees a point θ as a [`Vector`], one frozen mini-batch as a
//! [`GradOracle`] (loss and gradient at a point) or [`HvpOracle`] (and Hessian-vector products), and composes
//!
//! - **regularisers** that change the direction of a step: [`Gnr`] (Algorithm 1 of the paper), [`Sam`], [`Every`], tuples;
//! - **optimisers** that move θ along it: [`Sgd`], [`Adam`], [`AdamW`];
//! - **schedules**, pure functions of the step;
//!
//! into a [`Method`], whose [`step`](Method::step) is one iteration of training.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
mod checkpoint;
mod error;
pub mod measure;
mod method;
pub mod optimizer;
mod oracle;
pub mod random;
pub mod regularizer;
pub mod schedule;
#[cfg(feature = "testing")]
pub mod testing;
mod vector;

pub use adapter::{Accumulated, CentralDiff, Counted, Counter, Counts, ForwardDiff};
pub use checkpoint::{Checkpoint, Leaf, Leaves, StateSink, StateSource};
pub use error::{Error, Quantity, Result};
pub use method::{Clip, Method, StepReport};
pub use optimizer::{Adam, AdamW, Optimizer, Sgd};
pub use oracle::{Evaluation, GradOracle, HvpOracle, Order, Pass};
pub use regularizer::{Every, Gnr, Penalty, Regularizer, Sam, StepContext};
pub use schedule::{Cosine, InverseSqrt, Milestones, Proportional, Schedule, StepDecay, WarmUp};
pub use vector::{Elementwise, Real, Vector};
