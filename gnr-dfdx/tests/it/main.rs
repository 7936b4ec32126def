//! What gnr-dfdx promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod conformance;
mod examples;
mod fixtures;
mod golden;
mod memory;
mod module;
mod nets;
mod replay;
mod unfused;
