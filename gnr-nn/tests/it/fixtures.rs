//! Algorithm 1 on six small nets gives PyTorch's numbers on the reference backend.

use gnr_nn::testing::{
    Reference,
    fixtures::{Fixture, check_fixture},
};

/// Tolerance 1e-9: two f64 programs that sum in different orders differ by 1e-15 an operation. Five steps with second
/// derivatives, and differences over 1e-3, enlarge that to at most 1e-10.
fn check(name: &str) {
    check_fixture(&Reference::new(), &Fixture::read(name).unwrap(), 1e-9);
}

#[test]
fn mlp_relu() {
    check("mlp_relu");
}

#[test]
fn mlp_tanh() {
    check("mlp_tanh");
}

#[test]
fn convolution_and_pools() {
    check("convpool");
}

#[test]
fn batch_norm_in_train_mode() {
    check("convbn_train");
}

#[test]
fn batch_norm_in_eval_mode() {
    check("convbn_eval");
}

#[test]
fn residual_net_with_projection() {
    check("resnet_mini_train");
}
