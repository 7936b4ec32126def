//! What gnr-torch promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod agreement;
mod conformance;
mod failures;
mod fixtures;
mod golden;
mod module;

use gnr_torch::{Device, Precision, Torch};

/// The backend on LibTorch's CPU, which every machine has.
fn torch(precision: Precision) -> Torch {
    // Tests run beside each other, and LibTorch's threads wait actively.
    gnr_torch::set_threads(1);
    Torch::new(Device::Cpu, precision).unwrap()
}
