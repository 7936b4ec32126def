//! The gnr-nn backend on [dfdx](https://docs.rs/dfdx/0.13.0), and dfdx's own models as oracles.
//!
//! | | for | Hessian-vector products |
//! |---|---|---|
//! | [`Generic`] | any dfdx device (CPU, CUDA) through dfdx's public operations | exact, from scratch |
//! | [`ModuleOracle`] | any existing dfdx nn model | differences of gradients |
//!
//! Training on a CPU is the work of `gnr-cpu`, which is some twenty times faster there than [`Generic`].
//!
//! ```
//! use gnr_dfdx::Generic;
//! use gnr_nn::{Arithmetic, Autodiff};
//!
//! let backend = Generic::<f32>::default();
//! let tape = backend.gradient_session(false);
//! let x = tape.variable(&backend.constant(&[1.0, -2.0], &[2])?)?;
//! let loss = tape.sum(&tape.mul(&x, &x)?, &[0])?;
//! let gradient = tape.backward(&loss, vec![x])?;
//! assert_eq!(backend.to_host(&gradient[0])?, [2.0, -4.0]);
//! # Ok::<(), gnr_nn::Error>(())
//! ```

#[cfg(feature = "cuda")]
mod cuda;
pub mod generic;
pub mod module;
mod tape;

#[cfg(feature = "cuda")]
pub use cuda::{Card, Cuda, cards};
pub use generic::Generic;
pub use module::ModuleOracle;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
