//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_dfdx::Generic;
use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};

#[test]
fn f64() {
    for name in NAMES {
        // As on the reference backend.
        check_fixture(&Generic::<f64>::default(), &Fixture::read(name).unwrap(), 1e-9);
    }
}
