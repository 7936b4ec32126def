//! What gnr-torch promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod agreement;
mod conformance;
mod failures;
mod fixtures;
mod golden;
mod module;
mod precision;
mod vectors;

use gnr_torch::{Device, Precision, Torch};

/// The backend on LibTorch's CPU, which every machine has, or on the device that the environment names: `cargo xtask
/// gpu-check` runs the suites and the golden nets on a card.
fn torch(precision: Precision) -> Torch {
    // Tests run beside each other, and LibTorch's threads wait actively.
    gnr_torch::set_threads(1);
    let device = std::env::var("GNR_TORCH_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap());
    Torch::new(device, precision).unwrap()
}
