//! The gnr-nn backend on burn.
#[cfg(feature = "burn")]
mod arithmetic;
#[cfg(feature = "burn")]
mod autodiff;
#[cfg(feature = "burn")]
mod failure;
#[cfg(feature = "burn")]
mod layers;
#[cfg(feature = "burn")]
mod ops;
#[cfg(feature = "burn")]
mod tensor;

#[cfg(feature = "burn")]
pub use self::{
    failure::Failure,
    tensor::{Burn, BurnTensor, Flex, Precision},
};
