//! What gnr-burn promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod agreement;
mod composed;
mod conformance;
mod fixtures;
mod golden;

use gnr_burn::{Burn, Flex, Precision};

/// The backend on burn's CPU backend, which every machine has.
fn flex(precision: Precision) -> Burn<Flex> {
    Burn::new(precision).unwrap()
}
