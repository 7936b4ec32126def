//! PyTorch's numbers for Algorithm 1, trajectories and Hessians on six small nets.

use gnr_cpu::Cpu;
use gnr_nn::testing::fixtures::{Fixture, NAMES, check_fixture};

#[test]
fn f64() {
    for name in NAMES {
        // The tolerance of the reference backend.
        check_fixture(&Cpu::<f64>::new(), &Fixture::read(name).unwrap(), 1e-9);
    }
}
