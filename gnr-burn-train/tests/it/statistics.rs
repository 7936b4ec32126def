//! BatchNorm's running statistics: who shares them, and that a regularised step moves them once.

use burn::nn::{BatchNorm, BatchNormConfig};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gnr_burn_train::Regularized;
use gnr_core::{Gnr, Sam};

fn batch(device: &Device) -> Tensor<2> {
    Tensor::from_floats([[1.0, -1.0], [3.0, 0.5], [5.0, 4.0]], device)
}

fn mean(norm: &BatchNorm) -> Vec<f32> {
    norm.running_mean.value_sync().try_into_vec_as().unwrap()
}

/// Why probes must not run a plain clone.
#[test]
fn clones_share_running_statistics_and_a_copy_that_left_training_does_not() {
    let device = Device::flex().autodiff();
    let norm = BatchNormConfig::new(2).init(&device);
    let (clone, apart) = (norm.clone(), norm.valid().train());
    clone.forward(batch(&device));
    // The means of the columns are 3 and 7/6, momentum 0.1.
    let moved = mean(&norm);
    assert!((moved[0] - 0.3).abs() < 1e-6 && (moved[1] - 0.7 / 6.0).abs() < 1e-6, "{moved:?}");
    apart.forward(batch(&device));
    assert_ne!(mean(&apart), [0.0, 0.0]);
    assert_eq!(mean(&norm), moved);
}

#[test]
fn a_regularised_step_moves_them_as_one_forward_pass_does() {
    let device = Device::flex().autodiff();
    let plain = BatchNormConfig::new(2).init(&device);
    let fresh = || BatchNormConfig::new(2).init(&device);
    let (sam, gnr) = (fresh(), fresh());
    for _ in 0..3 {
        plain.forward(batch(&device));
        let loss = |norm: &BatchNorm| {
            let y = norm.forward(batch(&device));
            ((y.clone() * y.clone() * y).sum().powi_scalar(2), ())
        };
        Regularized::new(Sam::new(0.05).unwrap()).step(&sam, loss).unwrap();
        Regularized::new(Gnr::new(0.05, 0.1).unwrap()).step(&gnr, loss).unwrap();
    }
    let (expected, [sam, gnr]) = (mean(&plain), [mean(&sam), mean(&gnr)]);
    assert!((expected[0] - 3.0 * (1.0 - 0.9_f32.powi(3))).abs() < 1e-5, "{expected:?}");
    assert_eq!(sam, expected);
    assert_eq!(gnr, expected);
}
