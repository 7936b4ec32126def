//! burn against the CPU engine: gradients and exact products of nets of every operation.

use gnr_burn::Precision;
use gnr_cpu::Cpu;
use gnr_nn::testing::nets::check_agreement;

use crate::flex;

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    check_agreement(&flex(Precision::F64), &Cpu::<f64>::new());
}
