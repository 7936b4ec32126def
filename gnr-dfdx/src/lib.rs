//! Tensor backends on [dfdx](https://docs.rs/dfdx/0.13.0), and dfdx's own models as oracles.
//!
//! | | for | Hessian-vector products |
//! |---|---|---|
//! | [`Cpu`] | training on a CPU, f32 or f64: fused kernels | exact, replayed from the gradient pass |
//! | [`Generic`] | any dfdx device (CUDA) through dfdx's public operations | exact, from scratch |
//! | [`ModuleOracle`] | any existing dfdx nn model | differences of gradients |

pub mod cpu;
pub mod generic;
pub mod module;
mod tape;

pub use cpu::{Cpu, kernels::elem::Elem};
pub use generic::Generic;
pub use module::ModuleOracle;

/// [`Generic`] on dfdx's CUDA device.
#[cfg(feature = "cuda")]
pub type Cuda<E> = Generic<E, dfdx::prelude::Cuda>;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
