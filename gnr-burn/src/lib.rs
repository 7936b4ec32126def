//! The gnr-nn backend on [burn](https://burn.dev) 0.22: networks written over `gnr_nn::Backend` run on any of burn's
//! backends, with exact Hessian-vector products.
//!
//! burn differentiates once: `Autodiff<Autodiff<_>>` works for arithmetic and panics in layers. `Burn` runs the network
//! on dual numbers instead, and then one reverse pass, which is all that an exact product needs. `Burn<Flex>` computes
//! on every machine's CPU. With the feature `wgpu`, `Burn<Wgpu>` computes on graphics cards through Vulkan, in `f32`;
//! it has been tried on Mesa's software driver. Another backend of burn is another type parameter.
//!
//! The crate `gnr-burn-train` makes training steps for existing burn modules.
//!
//! Everything here needs the feature `burn`; without it the crate is empty, so that the workspace builds without burn
//! and with an older Rust.
//!
//! # Operations that are not burn's own
//! - ReLU6 is composed of ReLU and a mask: burn's clamp has derivative 1 at 6, PyTorch's ReLU6 has 0 there.
//! - GELU is composed of the error function, whose derivative is exact on all backends. On backends that do not
//!   override burn's GELU, its derivative is that of the tanh approximation.
//! - The sigmoid in `f64` is composed of tanh: burn's own computes in `f32` on backends that do not override it. The
//!   absolute error is 1e-16, but the relative one is large for small values: below -37 the result is 0.
//! - Inner products on graphics cards are added on the host: burn's wgpu backend loses terms of a sum of 100,000
//!   doubles.
//! - `sign` and `maximum` keep a NaN; burn's sign of NaN is 0.
//! - Duals of normalisations, attention and the loss, layer and group norms are gnr-nn's compositions.
//!
//! BatchNorm over the ranks of a cluster is an error.
#![cfg_attr(
    feature = "burn",
    doc = "
```
use gnr_burn::{Burn, Flex, Precision};
use gnr_nn::{Arithmetic, Autodiff};

let backend = Burn::<Flex>::new(Precision::F32)?;
let session = backend.gradient_session(false);
let x = session.variable(&backend.constant(&[1.0, -2.0], &[2])?)?;
let loss = session.sum(&session.mul(&x, &x)?, &[0])?;
let gradient = session.backward(&loss, vec![x])?;
assert_eq!(backend.to_host(&gradient[0])?, [2.0, -4.0]);
# Ok::<(), gnr_nn::Error>(())
```"
)]

#[cfg(feature = "burn")]
mod arithmetic;
#[cfg(feature = "burn")]
mod autodiff;
#[cfg(feature = "burn")]
mod convolution;
#[cfg(feature = "burn")]
mod failure;
#[cfg(feature = "burn")]
mod norm;
#[cfg(feature = "burn")]
mod ops;
#[cfg(feature = "burn")]
mod pooling;
#[cfg(feature = "burn")]
mod tensor;
#[cfg(feature = "wgpu")]
mod vulkan;

#[cfg(feature = "burn")]
pub use self::{
    failure::Failure,
    tensor::{Burn, BurnTensor, Flex, Precision, VERSION},
};

#[cfg(feature = "wgpu")]
pub use self::vulkan::{Adapter, Kind, Wgpu, adapters, memory_bytes};

/// The example in README.md, as a test.
#[cfg(all(doctest, feature = "burn"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
