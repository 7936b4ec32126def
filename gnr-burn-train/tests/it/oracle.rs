//! gnr-core's oracle suite on a burn module in f64: gradients are slopes of the loss, nothing but a commit changes
//! anything, products by central differences are slopes of the gradient.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use gnr_burn_train::{ModuleOracle, Point};
use gnr_core::{
    CentralDiff, Elementwise, Map, Vector,
    testing::conformance::{Tolerances, check_oracle},
};

#[derive(Module, Debug)]
pub(crate) struct Net {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

fn double<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

/// The tolerances are those of the suite's own test of differences.
#[test]
fn the_oracle_suite_passes() {
    let device = Device::flex().autodiff();
    let net = Net {
        weight: Param::from_tensor(double(&[0.5, -0.25, 0.75, 0.125, -0.5, 0.3], [3, 2], &device)),
        bias: Param::from_tensor(double(&[0.1, -0.2], [2], &device)),
    };
    let x = double(&[1.0, 0.5, -1.0, 0.25, 0.75, 0.5, -0.5, 1.0, 0.1, 0.9, -0.3, 0.6], [4, 3], &device);
    let loss = |net: &Net| {
        let y = (x.clone().matmul(net.weight.val()) + net.bias.val().unsqueeze()).tanh();
        ((y.clone() * y.clone() + y.exp()).mean(), ())
    };
    let (_, theta) = ModuleOracle::new(&net, loss).unwrap();
    let moved = |f: Map| -> Point {
        let mut tangent = theta.clone();
        tangent.map(f).unwrap();
        tangent
    };
    let tangents = [moved(Map::Add(0.3)), moved(Map::Square)];
    assert_eq!(theta.dim(), 8);
    let make = || CentralDiff::new(ModuleOracle::new(&net, loss).unwrap().0).with_step(1e-5).unwrap();
    let rough = Tolerances { rounding: 1e-6, product: 1e-5, ..Tolerances::F64 };
    check_oracle(make, &theta, &tangents, None, rough);
}
