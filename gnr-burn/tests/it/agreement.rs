//! LibTorch against the CPU engine: gradients and exact products of nets of every operation.

use gnr_burn::Precision;
use gnr_cpu::Cpu;
use gnr_nn::{
    Model,
    testing::nets::{Mixed, Setting, Sums, TanhMlp, difference},
};

use crate::flex;

/// Both are exact, so only the order of additions differs.
fn agree<M: Model>(model: &M) {
    let shape = [6, 3];
    let found = Setting::new(model, flex(Precision::F64), &shape, 3).unwrap().at_noise().unwrap();
    let cpu = Setting::new(model, Cpu::<f64>::new(), &shape, 3).unwrap().at_noise().unwrap();
    let (gradient, products) = found.ask(&[found.direction(1).unwrap()]).unwrap();
    let (expected, expected_products) = cpu.ask(&[cpu.direction(1).unwrap()]).unwrap();
    let errors = [difference(&gradient, &expected), difference(&products[0], &expected_products[0])];
    assert!(errors[0] < 1e-12 && errors[1] < 1e-12, "{errors:?}");
}

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    agree(&TanhMlp::new());
    agree(&Mixed::new());
    agree(&Sums::new());
}
