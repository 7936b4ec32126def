//! Tests of gnr-models through its public interface.
// Helpers of tests may unwrap as tests do; clippy.toml only covers the test functions themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_inputs;
mod forward;
mod golden;
mod objects;
mod registry;
mod smooth;
mod support;
mod torch;
mod weights;
