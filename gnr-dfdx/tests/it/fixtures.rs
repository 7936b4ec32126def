//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_dfdx::{Cpu, Generic};
use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};

fn check<B: gnr_nn::Autodiff>(backend: &B) {
    for name in NAMES {
        // As on the reference backend.
        check_fixture(backend, &Fixture::read(name).unwrap(), 1e-9);
    }
}

#[test]
fn cpu_f64() {
    check(&Cpu::<f64>::new());
}

#[test]
fn generic_f64() {
    check(&Generic::<f64>::default());
}
