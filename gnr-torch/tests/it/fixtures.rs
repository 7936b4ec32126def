//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};
use gnr_torch::Precision;

use crate::torch;

#[test]
fn f64() {
    for name in NAMES {
        // The tolerance of the reference backend.
        check_fixture(&torch(Precision::F64), &Fixture::read(name).unwrap(), 1e-9);
    }
}
