//! Tests of what gnr-cpu promises, one module a subject.
#![allow(clippy::unwrap_used)]

mod conformance;
mod examples;
mod fixtures;
mod golden;
mod ranks;
mod replay;
mod unfused;
