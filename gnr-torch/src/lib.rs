//! The gnr-nn backend on [LibTorch](https://docs.rs/tch/0.26.0), and models of tch and TorchScript as oracles.
//!
//! | | for | Hessian-vector products |
//! |---|---|---|
//! | `Torch` | networks written over `gnr_nn::Backend`, on a CPU or a CUDA card | exact, one reverse pass |
//! | `ModuleOracle` | any existing tch model or TorchScript file | exact, ATen differentiates twice |
//!
//! Everything here needs the feature `libtorch`; without it the crate is empty, so that the workspace builds without
//! LibTorch. `cargo xtask libtorch` fetches the library.
#![cfg_attr(
    feature = "libtorch",
    doc = "
```
use gnr_nn::{Arithmetic, Autodiff};
use gnr_torch::{Device, Precision, Torch};

let backend = Torch::new(Device::Cpu, Precision::F32)?;
let session = backend.gradient_session(false);
let x = session.variable(&backend.constant(&[1.0, -2.0], &[2])?)?;
let loss = session.sum(&session.mul(&x, &x)?, &[0])?;
let gradient = session.backward(&loss, vec![x])?;
assert_eq!(backend.to_host(&gradient[0])?, [2.0, -4.0]);
# Ok::<(), gnr_nn::Error>(())
```"
)]

#[cfg(feature = "libtorch")]
mod again;
#[cfg(feature = "libtorch")]
mod arithmetic;
#[cfg(feature = "libtorch")]
mod attention;
#[cfg(feature = "libtorch")]
mod autodiff;
#[cfg(feature = "libtorch")]
mod convolution;
#[cfg(feature = "libtorch")]
mod cuda;
#[cfg(feature = "libtorch")]
mod device;
#[cfg(feature = "libtorch")]
mod failure;
#[cfg(feature = "libtorch")]
mod linear;
#[cfg(feature = "libtorch")]
mod loss;
#[cfg(feature = "libtorch")]
pub mod module;
#[cfg(feature = "libtorch")]
mod norm;
#[cfg(feature = "libtorch")]
mod pooling;
#[cfg(feature = "libtorch")]
pub mod record;
#[cfg(feature = "libtorch")]
mod tables;
#[cfg(feature = "libtorch")]
mod tensor;

#[cfg(feature = "libtorch")]
pub use self::{
    device::{Device, Precision, Ready, cards, libtorch_version, set_threads},
    failure::Failure,
    module::{ModuleOracle, Variables},
    tensor::{Torch, TorchTensor},
};

/// The example in README.md, as a test.
#[cfg(all(doctest, feature = "libtorch"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
