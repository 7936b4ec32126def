//! What gnr-dfdx promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod agreement;
mod conformance;
mod fixtures;
mod golden;
mod module;
mod sums;
