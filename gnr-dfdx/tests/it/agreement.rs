//! The generic backend against the CPU engine: gradients and exact products of nets of every operation.

use gnr_cpu::Cpu;
use gnr_dfdx::Generic;
use gnr_nn::testing::nets::check_agreement;

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    check_agreement(&Generic::<f64>::default(), &Cpu::<f64>::new());
}
