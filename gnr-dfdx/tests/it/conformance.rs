//! Every backend runs the same suites.
//!
//! Tolerances as the suite documents them: 1e-10 in f64; in f32, 2e-4, which second derivatives through BatchNorm need.

use gnr_core::testing::conformance::Tolerances;
use gnr_dfdx::{Cpu, Generic};
use gnr_nn::testing::conformance::{check_backend, check_network};

use crate::unfused::Unfused;

#[test]
fn cpu_f64() {
    check_backend(&Cpu::<f64>::new(), 1e-10);
}

#[test]
fn cpu_f32() {
    check_backend(&Cpu::<f32>::new(), 2e-4);
}

#[test]
fn unfused_f64() {
    check_backend(&Unfused::<f64>::new(), 1e-10);
}

#[test]
fn unfused_f32() {
    check_backend(&Unfused::<f32>::new(), 2e-4);
}

#[test]
fn generic_f64() {
    check_backend(&Generic::<f64>::default(), 1e-10);
}

#[test]
fn generic_f32() {
    check_backend(&Generic::<f32>::default(), 2e-4);
}

#[test]
fn oracles() {
    check_network(&Cpu::<f64>::new(), Tolerances::F64);
    check_network(&Cpu::<f32>::new(), Tolerances::F32);
    check_network(&Unfused::<f64>::new(), Tolerances::F64);
    check_network(&Generic::<f64>::default(), Tolerances::F64);
    check_network(&Generic::<f32>::default(), Tolerances::F32);
}
