//! The gnr-nn backend on [burn](https://burn.dev) 0.22: networks written over `gnr_nn::Backend` run on any of burn's
//! backends, with exact Hessian-vector products.
//!
//! burn differentiates once: `Autodiff<Autodiff<_>>` goes through arithmetic and panics in layers. `Burn` runs the
//! network on dual numbers instead and goes back once, which is all that an exact product needs. `Burn<Flex>` computes
//! on every machine's CPU. With the feature `wgpu`, `Burn<Wgpu>` computes on graphics cards through Vulkan, in `f32`;
//! it has been tried on Mesa's software driver. Another backend of burn is another type parameter.
//!
//! Training steps of existing burn modules are the crate `gnr-burn-train`'s.
//!
//! Everything here needs the feature `burn`; without it the crate is empty, so that the workspace builds without burn
//! and with an older Rust.
//!
//! # What is not burn's own operation
//! - ReLU6: burn's clamp has derivative 1 at 6, PyTorch's ReLU6 has 0 there. Composed of ReLU and a mask.
//! - GELU: the derivative of burn's own is that of the tanh approximation on backends that do not override it. Composed
//!   of the error function, whose derivative is exact on all of them.
//! - The sigmoid in `f64`: burn's own computes in `f32` on backends that do not override it. Composed of tanh, right to
//!   1e-16 of 1 and not of itself: below -37 it is 0.
//! - Inner products on graphics cards: burn's wgpu backend loses terms of a sum of 100,000 doubles. Added on the host.
//! - `sign` and `maximum`: burn's sign of NaN is 0; here NaN stays NaN.
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
