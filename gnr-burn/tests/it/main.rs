//! What gnr-burn promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod agreement;
mod composed;
mod conformance;
mod fixtures;
mod golden;
#[cfg(feature = "wgpu")]
mod lost;
#[cfg(feature = "wgpu")]
mod vulkan;

use gnr_burn::{Burn, Flex, Precision};

/// The backend on burn's CPU backend, which every machine has.
fn flex(precision: Precision) -> Burn<Flex> {
    Burn::new(precision).unwrap()
}
