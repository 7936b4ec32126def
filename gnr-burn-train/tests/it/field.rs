//! A regulariser as a field of the module, which counts the steps of the whole training.

use burn::{
    module::{Module, Param},
    optim::SgdConfig,
    tensor::{Device, Tensor},
};
use gnr_burn_train::Regularized;
use gnr_core::{Every, Sam};

#[derive(Module, Debug)]
pub(crate) struct Net {
    weight: Param<Tensor<1>>,
    #[module(skip)]
    method: Regularized<Every<Sam<f64>>>,
}

/// Gradient and SAM's gradient of w⁴/4 at w: w³, and (w + ρ)³ on every second step.
#[test]
fn clones_of_the_module_share_the_count_of_steps() {
    let device = Device::flex().autodiff();
    let method = Regularized::new(Every::new(Sam::new(0.5).unwrap(), 2).unwrap());
    let mut net = Net { weight: Param::from_tensor(Tensor::from_floats([1.0], &device)), method };
    let mut sgd = SgdConfig::new().init();
    let mut found = Vec::new();
    for _ in 0..4 {
        let output = net.method.step(&net, |net| (net.weight.val().powi_scalar(4).mean() / 4.0, ())).unwrap();
        found.push(output.grads.get::<1>(net.weight.id).unwrap().into_scalar::<f32>());
        // An optimiser hands back another value of the module.
        net = sgd.step(0.0, net, output.grads);
    }
    assert_eq!(net.method.steps(), 4);
    let expected = [3.375, 1.0, 3.375, 1.0];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
}
