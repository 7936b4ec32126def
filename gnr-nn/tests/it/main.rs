//! Tests of gnr-nn on its own reference backend.
// Helpers of tests may unwrap as tests do; clippy.toml only covers the test functions themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod data_oracle;
mod fixtures;
mod group_norm;
mod initial;
mod layout;
mod masks;
mod mixed;
mod reference;
