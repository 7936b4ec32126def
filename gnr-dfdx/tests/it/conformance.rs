//! The suites that every backend runs.
//!
//! Tolerances as the suite documents them: 1e-10 in f64; in f32, 2e-4, which second derivatives through BatchNorm need.

use gnr_core::testing::conformance::Tolerances;
use gnr_dfdx::Generic;
use gnr_nn::testing::conformance::{check_backend, check_network};

#[test]
fn f64() {
    check_backend(&Generic::<f64>::default(), 1e-10);
}

#[test]
fn f32() {
    check_backend(&Generic::<f32>::default(), 2e-4);
}

#[test]
fn oracles() {
    check_network(&Generic::<f64>::default(), Tolerances::F64);
    check_network(&Generic::<f32>::default(), Tolerances::F32);
}
