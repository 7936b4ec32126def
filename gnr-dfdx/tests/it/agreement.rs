//! The generic backend against the CPU engine: the same gradients and exact products on nets of every operation.

use gnr_cpu::Cpu;
use gnr_dfdx::Generic;
use gnr_nn::{
    Model,
    testing::nets::{Mixed, Setting, Sums, TanhMlp, difference},
};

/// Both are exact, so only the order of additions differs.
fn agree<M: Model>(model: &M) {
    let shape = [6, 3];
    let generic = Setting::new(model, Generic::<f64>::default(), &shape, 3).unwrap().at_noise().unwrap();
    let cpu = Setting::new(model, Cpu::<f64>::new(), &shape, 3).unwrap().at_noise().unwrap();
    let (gradient, products) = generic.ask(&[generic.direction(1).unwrap()]).unwrap();
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
