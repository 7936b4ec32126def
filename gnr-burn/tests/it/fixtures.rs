//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_burn::Precision;
use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};

use crate::flex;

#[test]
fn f64() {
    for name in NAMES {
        // The tolerance of the reference backend.
        check_fixture(&flex(Precision::F64), &Fixture::read(name).unwrap(), 1e-9);
    }
}
