//! What gnr-dfdx promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod conformance;
mod fixtures;
mod golden;
mod memory;
mod module;
mod nets;
mod ranks;
mod replay;
mod unfused;
