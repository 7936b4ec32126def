//! LibTorch against the CPU engine: gradients and exact products of nets of every operation.

use gnr_cpu::Cpu;
use gnr_nn::testing::nets::check_agreement;
use gnr_torch::Precision;

use crate::torch;

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    check_agreement(&torch(Precision::F64), &Cpu::<f64>::new());
}
