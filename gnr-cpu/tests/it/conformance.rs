//! The suites that every backend runs.
//!
//! Tolerances are those of the suite: 1e-10 in f64; in f32, 2e-4, which second derivatives through BatchNorm need.

use gnr_core::testing::conformance::Tolerances;
use gnr_cpu::Cpu;
use gnr_nn::testing::conformance::{check_backend, check_network};

use crate::unfused::Unfused;

#[test]
fn fused_f64() {
    check_backend(&Cpu::<f64>::new(), 1e-10);
}

#[test]
fn fused_f32() {
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
fn oracles() {
    check_network(&Cpu::<f64>::new(), Tolerances::F64);
    check_network(&Cpu::<f32>::new(), Tolerances::F32);
    check_network(&Unfused::<f64>::new(), Tolerances::F64);
}
