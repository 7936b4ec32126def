//! burn's optimisers, schedulers and checkpoints around a regularised gradient.

use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gnr_burn_train::Regularized;
use gnr_core::Gnr;

fn step(model: Linear, adam: &mut ModuleOptimizer, rate: f64, device: &Device) -> Linear {
    let x = Tensor::<2>::from_floats([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], device);
    let y = Tensor::<2>::from_floats([[1.0], [2.0], [-3.0]], device);
    let method = Regularized::new(Gnr::new(0.05, 0.1).unwrap());
    let output = method
        .step(&model, |model| ((model.forward(x.clone()) - y.clone()).powi_scalar(2).mean(), ()))
        .unwrap();
    let grads: GradientsParams = output.grads;
    adam.step(rate, model, grads)
}

/// Adam's memory is keyed by parameters' names: gradients under other names would begin it anew.
#[test]
fn adam_with_a_schedule_goes_on_from_a_saved_state_bit_for_bit() {
    let device = Device::flex().autodiff();
    let start: Linear = LinearConfig::new(2, 1).init(&device);
    let rate = |t: u32| 0.1 / f64::from(t + 1);
    let run = |mut model: Linear, adam: &mut ModuleOptimizer, steps: std::ops::Range<u32>| {
        for t in steps {
            model = step(model, adam, rate(t), &device);
        }
        model
    };
    let values = |model: &Linear| model.weight.val().try_into_vec_as::<f32>().unwrap();
    let whole = run(start.clone(), &mut AdamConfig::new().init(), 0..10);

    let mut adam = AdamConfig::new().init();
    let half = run(start.clone(), &mut adam, 0..5);
    let mut resumed = AdamConfig::new().init().load_record(adam.to_record());
    let other: Linear = LinearConfig::new(2, 1).init(&device);
    let half = other.load_record(half.into_record());
    assert_eq!(values(&run(half.clone(), &mut resumed, 5..10)), values(&whole));
    // The memory matters: without it the end is another.
    assert_ne!(values(&run(half, &mut AdamConfig::new().init(), 5..10)), values(&whole));
}
