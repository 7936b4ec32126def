//! Tensor backends on [dfdx](https://docs.rs/dfdx/0.13.0), and dfdx's own models as oracles.
//!
//! | | for | Hessian-vector products |
//! |---|---|---|
//! | [`Cpu`] | training on a CPU, f32 or f64: fused kernels | exact, replayed from the gradient pass |
//! | [`Generic`] | any dfdx device (CUDA) through dfdx's public operations | exact, from scratch |
//! | [`ModuleOracle`] | any existing dfdx nn model | differences of gradients |
//!
//! ```
//! use gnr_dfdx::Cpu;
//! use gnr_nn::{Autodiff, Backend};
//!
//! let backend = Cpu::<f32>::new();
//! let tape = backend.gradient_session(false);
//! let x = tape.variable(&backend.constant(&[1.0, -2.0], &[2])?);
//! let loss = tape.sum(&tape.mul(&x, &x)?, &[0])?;
//! let gradient = tape.backward(&loss, vec![x])?;
//! assert_eq!(backend.to_host(&gradient[0])?, [2.0, -4.0]);
//! # Ok::<(), gnr_nn::Error>(())
//! ```

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
