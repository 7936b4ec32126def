//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_dfdx::Cpu;
use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};

/// 1e-9 in f64, as on the reference backend.
#[test]
fn cpu_f64() {
    for name in NAMES {
        if let Some(fixture) = Fixture::read(name).unwrap() {
            check_fixture(&Cpu::<f64>::new(), &fixture, 1e-9);
        }
    }
}
