//! Every backend runs the same suites.

use gnr_dfdx::Cpu;
use gnr_nn::testing::conformance::{check_backend, check_network};

#[test]
fn cpu_f64_conforms() {
    check_backend(&Cpu::<f64>::new(), 1e-10);
}

#[test]
fn cpu_f32_conforms() {
    check_backend(&Cpu::<f32>::new(), 2e-4);
}

#[test]
fn oracle_on_cpu_f64_conforms() {
    check_network(&Cpu::<f64>::new(), Default::default());
}
