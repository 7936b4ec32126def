//! What cannot be a step is an error that says what was expected; parameters that the loss does not use stay alone.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use gnr_burn_train::{Differences, Regularized};
use gnr_core::{Gnr, Sam};

#[derive(Module, Debug)]
pub(crate) struct Two {
    used: Param<Tensor<1>>,
    idle: Param<Tensor<1>>,
    buffer: Param<Tensor<1>>,
}

fn two(device: &Device) -> Two {
    let param = |x: f32| Param::from_tensor(Tensor::from_floats([x, -x], device));
    Two { used: param(1.0), idle: param(2.0), buffer: param(3.0).set_require_grad(false) }
}

/// ‖used‖² + Σ buffer: the gradient is 2·used, the Hessian 2·I.
fn loss(model: &Two) -> (Tensor<1>, &'static str) {
    (model.used.val().powi_scalar(2).sum() + model.buffer.val().sum(), "item")
}

#[test]
fn idle_and_frozen_parameters_have_no_gradient_and_the_item_comes_back() {
    let device = Device::flex().autodiff();
    let model = two(&device);
    let output = Regularized::new(Sam::new(0.1).unwrap()).step(&model, loss).unwrap();
    assert_eq!((output.item, output.grads.len()), ("item", 1));
    // At (1, −1) + 0.1·ĝ the gradient is 2·(1 + 0.1/√2)·(1, −1).
    let found = output.grads.get::<1>(model.used.id).unwrap().try_into_vec_as::<f64>().unwrap();
    let expected = 2.0 * (1.0 + 0.1 * 0.5_f64.sqrt());
    assert!((found[0] - expected).abs() < 1e-6 && (found[1] + expected).abs() < 1e-6, "{found:?}");
}

fn refused<O>(output: gnr_core::Result<O>, words: &str) {
    let Err(error) = output else { panic!("an error was due: {words}") };
    assert!(error.to_string().contains(words), "{words:?} in {error}");
}

#[test]
fn bad_modules_and_losses_are_refused_with_the_reason() {
    let device = Device::flex().autodiff();
    let model = two(&device);
    let sam = || Regularized::new(Sam::new(0.1).unwrap());
    refused(sam().step(&model.valid(), loss), "no parameter that is trained");
    refused(sam().step(&model, |model| (model.buffer.val().sum(), ())), "depends on no trained parameter");
    refused(
        sam().step(&model, |model| (model.used.val().detach().sum(), ())),
        "depends on no trained parameter",
    );
    refused(sam().step(&model, |_| loss(&model)), "computed from the module that the closure is given");
    refused(sam().step(&model, |model| (model.used.val(), ())), "shape [2], expected a single element");
    refused(sam().step(&model, |model| (model.used.val().log().sum(), ())), "loss");
    let gnr = Regularized::new(Gnr::new(0.1, 0.1).unwrap());
    let none = gnr.with_differences(Differences::Forward { step: 0.0 });
    refused(none.step(&model, loss), "step");
    assert_eq!(none.steps(), 0);

    let mut mixed = two(&device);
    let double = Tensor::from_data(TensorData::from([1.0_f64, 2.0]), (&device, DType::F64));
    mixed.idle = Param::from_tensor(double);
    refused(sam().step(&mixed, loss), "parameters of types F32 and F64");
}
