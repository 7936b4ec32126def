//! SAM and GNR as training steps of [burn](https://burn.dev) models.
//!
//! A burn model's training step ends with `loss.backward()`. [`Regularized::step`] takes its place and fills the same
//! `TrainOutput` with the gradient that a regulariser of `gnr-core` makes of it. burn's optimisers, learning-rate
//! schedulers, checkpoints and the `Learner` of burn-train work with it as with any other gradient.
//!
//! burn differentiates once, so products with the Hessian are differences of gradients ([`Differences`]). A network
//! written over `gnr_nn::Backend` has exact products on burn's backends: see the crate `gnr-burn`.
//!
//! | running statistics | of whom |
//! |---|---|
//! | clones of a burn module | one value: burn shares it, and a forward pass in training moves it for all of them |
//! | [`Regularized::step`] | moved once a step, by the pass at the module's own parameters |
//!
//! On a GPU the work is the same calls on another device; no GPU has been tried.

mod oracle;
mod parameters;
mod step;

pub use oracle::ModuleOracle;
pub use parameters::Point;
pub use step::{Differences, Regularized};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
