//! The reference backend passes its own suite, and its gradients are slopes.

use gnr_core::testing::conformance::Tolerances;
use gnr_nn::testing::{Reference, conformance};

/// As a comparison of values this is trivial (the backend is its own oracle), but not for arithmetic, refusals,
/// sessions and running statistics.
#[test]
fn passes_the_backend_suite() {
    conformance::check_backend(&Reference::new(), 1e-10);
}

/// Finite differences agree with the loss and the gradient, through convolution, BatchNorm, pooling, shortcut and loss.
#[test]
fn passes_the_oracle_suite() {
    conformance::check_network(&Reference::new(), Tolerances::F64);
}
