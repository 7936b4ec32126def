//! Losses and logits one example at a time, selections, and Jᵀu, on the engine's tapes.

use std::cell::RefCell;

use gnr_core::testing::conformance::{Coupling, Tolerances, check_examples};
use gnr_cpu::Cpu;
use gnr_nn::{
    Autodiff, BatchOracle, Buffers, Model,
    testing::nets::{Mixed, Setting, Sums, TanhMlp},
};

fn check<M: Model, B: Autodiff>(model: &M, backend: B, coupling: Coupling, tolerances: Tolerances) {
    let setting = Setting::new(model, backend, &[5, 3], 3).unwrap().at_noise().unwrap();
    let Setting { backend, batch, theta, .. } = &setting;
    let buffers = RefCell::new(Buffers::initial(model.layout(), backend).unwrap());
    let batch = batch.clone().with_examples((0..5).collect::<Vec<_>>());
    let mut oracle = BatchOracle::new(model, backend, &batch, &buffers);
    check_examples(&mut oracle, theta, &setting.direction(70).unwrap(), coupling, tolerances);
}

#[test]
fn examples_are_known_one_by_one() {
    check(&TanhMlp::new(), Cpu::<f64>::new(), Coupling::Apart, Tolerances::F64);
    check(&Sums::new(), Cpu::<f64>::new(), Coupling::Apart, Tolerances::F64);
    check(&Mixed::new(), Cpu::<f64>::new(), Coupling::ByBatch, Tolerances::F64);
    check(&TanhMlp::new(), Cpu::<f32>::new(), Coupling::Apart, Tolerances::F32);
}
