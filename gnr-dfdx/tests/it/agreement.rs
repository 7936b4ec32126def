//! The generic backend against the CPU engine: gradients and exact products of nets of every operation.

use gnr_cpu::Cpu;
use gnr_dfdx::Generic;
use gnr_nn::testing::nets::check_agreement;
use gnr_nn::{Arithmetic as _, Autodiff as _};

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    check_agreement(&Generic::<f64>::default(), &Cpu::<f64>::new());
}

#[test]
fn tensors_of_two_sessions_and_plain_handles_have_no_reverse_pass() {
    let backend = Generic::<f64>::default();
    let (one, two) = (backend.gradient_session(false), backend.gradient_session(false));
    let x = backend.upload(&[2.0], &[1]).unwrap();
    let (a, b) = (one.variable(&x).unwrap(), two.variable(&x).unwrap());
    let sum = one.add(&a, &b).unwrap();
    for (session, leaf) in [(&one, &a), (&two, &b)] {
        let error = session.backward(&sum, vec![leaf.clone()]).unwrap_err().to_string();
        assert!(error.contains("two different sessions"), "{error}");
    }
    let error = backend.backward(&x, vec![x.clone()]).unwrap_err().to_string();
    assert!(error.contains("found a plain handle"), "{error}");
}
