//! Tensor backends on [dfdx](https://docs.rs/dfdx/0.13.0): the fused CPU backend [`Cpu`] and [`Generic`] for any dfdx device.

pub mod cpu;
pub mod generic;
mod tape;

pub use cpu::{Cpu, kernels::elem::Elem};
pub use generic::Generic;

/// [`Generic`] on dfdx's CUDA device.
#[cfg(feature = "cuda")]
pub type Cuda<E> = Generic<E, dfdx::prelude::Cuda>;
