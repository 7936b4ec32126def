//! PyTorch's numbers on the reference backend. The matrix over architectures, precisions and fused kernels is run where
//! the fast backends are; this one net shows that the composed operations alone agree.

use gnr_models::{
    Activation,
    mlp::Mlp,
    resnet::{Design, ResNet, Stem, Style, Unit},
    testing::{Precision, check_golden},
};
use gnr_nn::{
    Mode, Model,
    testing::{
        Reference,
        fixtures::{Fixture, check_fixture_of},
    },
};

#[test]
fn resnet20() {
    check_golden(&Reference::new(), "resnet20", Precision::F64);
}

/// The architectures without golden numbers of their own, as the small nets that have test vectors.
fn check_small(fixture: &str, model: &impl Model) {
    check_fixture_of(&Reference::new(), &Fixture::read(fixture).unwrap(), model, Mode::Train, 1e-9);
}

#[test]
fn perceptrons() {
    check_small("mlp_relu", &Mlp::new(&[5, 7, 6, 4], Activation::Relu));
    check_small("mlp_tanh", &Mlp::new(&[5, 7, 6, 4], Activation::Tanh));
}

#[test]
fn resnet_with_projection_shortcuts() {
    let design = Design {
        style: Style::CifarProjection,
        stem: Stem::Cifar,
        unit: Unit::Basic,
        blocks: &[1, 1],
        widths: &[3, 4],
    };
    check_small("resnet_mini_train", &ResNet::new(&design, 3, 3));
}
