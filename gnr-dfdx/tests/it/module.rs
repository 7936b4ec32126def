//! A dfdx nn model as an oracle, against the same network written over `Backend`.

use dfdx::prelude::{
    BatchNorm2D, DeviceBuildExt, Linear, Rank2, Tanh, Tensor, TensorFromVec, cross_entropy_with_logits_loss,
};
use gnr_core::{ForwardDiff, GradOracle, HvpOracle, Order, Pass, Use, Vector};
use gnr_cpu::Cpu;
use gnr_dfdx::module::{self, ModuleOracle};
use gnr_nn::{
    Autodiff,
    testing::nets::{Setting, TanhMlp, difference},
};

type Device = dfdx::prelude::Cpu;
type Mlp = ((Linear<3, 5>, Tanh), (Linear<5, 4>, Tanh), Linear<4, 3>);

/// dfdx adds sequentially, we do in lanes: f64 rounding over a batch of 6 leaves 1e-14. The one-sided difference with
/// step ε of a function whose third derivatives are of order 1 is off by order ε.
#[test]
fn gradient_equals_batch_oracle_and_product_to_first_order() {
    let net = TanhMlp::new();
    let setting = Setting::new(&net, Cpu::<f64>::new(), &[6, 3], 3).unwrap();
    let v = setting.direction(5).unwrap();
    let (gradient, exact) = setting.ask(std::slice::from_ref(&v)).unwrap();

    let device = Device::default();
    let mut model = device.build_module::<Mlp, f64>();
    let theta = setting.theta.to_host().unwrap().concat();
    module::write_back(&mut model, &theta).unwrap();
    assert_eq!(module::parameters(&model).unwrap(), theta);

    let images = setting.backend.to_host(&setting.batch.images).unwrap();
    let x: Tensor<Rank2<6, 3>, f64, Device> = device.tensor_from_vec(images, Default::default());
    let mut classes = vec![0.0; 18];
    for (i, label) in setting.batch.labels.iter().enumerate() {
        classes[3 * i + label] = 1.0;
    }
    let y: Tensor<Rank2<6, 3>, f64, Device> = device.tensor_from_vec(classes, Default::default());

    let mut oracle = ModuleOracle::new(&mut model, x, y, cross_entropy_with_logits_loss);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap();
    assert!(difference(&here.grad, &gradient) < 1e-13);
    drop(here);

    let v = v.to_host().unwrap().concat();
    let mut errors = Vec::new();
    for step in [1e-3, 1e-4] {
        let mut differences = ForwardDiff::new(&mut oracle).with_step(step).unwrap();
        let here = differences.evaluate(&theta, Pass::Probe, Order::First).unwrap();
        let product = differences.hvp(&here, &v, Use::Again).unwrap();
        errors.push(difference(&product, &exact[0]));
    }
    assert!(errors[0] < 1e-2, "{errors:?}");
    let ratio = errors[0] / errors[1];
    assert!((9.0..11.0).contains(&ratio), "the error falls with the step: {errors:?}");
    assert_eq!(module::parameters(&model).unwrap(), theta, "the model's own parameters stay");
}

#[test]
fn running_statistics_move_in_commit_only() {
    let device = Device::default();
    let mut model = device.build_module::<BatchNorm2D<2>, f32>();
    let data: Vec<f32> = (0..2 * 2 * 3 * 3).map(|i| i as f32).collect();
    let x: Tensor<dfdx::prelude::Rank4<2, 2, 3, 3>, f32, Device> =
        device.tensor_from_vec(data, Default::default());
    let theta = module::parameters(&model).unwrap();
    assert_eq!(theta, [1.0, 1.0, 0.0, 0.0], "scale and bias are trained, running statistics are not");
    let loss = |y: Tensor<_, f32, Device, _>, (): ()| dfdx::prelude::MeanTo::mean(y);
    let mut oracle = ModuleOracle::new(&mut model, x, (), loss);
    oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap();
    oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
    let after_one = model.running_mean.as_vec();
    assert!(after_one[0] > 0.0 && after_one[1] > after_one[0]);
    // Had the probe moved them too, they would be 1 + 0.9 times as far.
    let means = [13.0, 22.0];
    for (running, mean) in after_one.iter().zip(means) {
        assert!((running - 0.1 * mean).abs() < 1e-5, "{after_one:?}");
    }
}

#[test]
fn a_vector_of_another_length_is_refused_and_nan_is_named() {
    let device = Device::default();
    let mut model = device.build_module::<Linear<2, 2>, f32>();
    let theta = module::parameters(&model).unwrap();
    assert!(module::write_back(&mut model, &theta[1..]).is_err());
    let batch: Tensor<Rank2<1, 2>, f32, Device> = device.tensor_from_vec(vec![1.0, 2.0], Default::default());
    let mut oracle = ModuleOracle::new(&mut model, batch.clone(), batch, cross_entropy_with_logits_loss);
    assert!(oracle.evaluate(&vec![0.0; 5], Pass::Probe, Order::First).is_err());
    let mut poisoned = theta.clone();
    poisoned.scale(f64::NAN).unwrap();
    let error = oracle.evaluate(&poisoned, Pass::Probe, Order::First).unwrap_err();
    assert!(matches!(error, gnr_core::Error::NonFinite { .. }), "{error}");
}
