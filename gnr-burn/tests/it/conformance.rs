//! The suites that every backend runs.
//!
//! Tolerances are those of the suite: 1e-10 in f64; in f32, 2e-4, which second derivatives through BatchNorm need.

use gnr_burn::Precision;
use gnr_core::testing::conformance::Tolerances;
use gnr_nn::testing::conformance::{check_backend, check_network};

use crate::flex;

#[test]
fn f64() {
    check_backend(&flex(Precision::F64), 1e-10);
}

#[test]
fn f32() {
    check_backend(&flex(Precision::F32), 2e-4);
}

#[test]
fn oracles() {
    check_network(&flex(Precision::F64), Tolerances::F64);
    check_network(&flex(Precision::F32), Tolerances::F32);
}
