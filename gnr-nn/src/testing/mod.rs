//! The worked example of a backend, the suites that every backend must pass, and the exact test vectors (feature
//! `testing`).
//!
//! To add a tensor library of your own: read [`Reference`], implement [`Backend`](crate::Backend) and
//! [`Autodiff`](crate::Autodiff) as it does, and call [`conformance::check_backend`] in a test. Override provided
//! operations with fused kernels afterwards; the suite tells whether they are right.
//!
//! The suites panic with a message that says what went wrong, as assertions do.

pub mod conformance;
pub mod fixtures;
pub mod nets;
mod noise;
mod reference;

pub use noise::noise;
pub use reference::{Reference, ReferenceTensor};
