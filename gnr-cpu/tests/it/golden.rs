//! PyTorch's numbers for whole architectures, in both precisions.

use gnr_cpu::Cpu;
use gnr_models::testing::{Precision, Reserved, check_golden, check_smooth, check_swin};

fn reserve(megabytes: usize) -> Reserved {
    // A failed test leaves idle buffers of its lengths behind; the next one needs others.
    gnr_models::testing::reserve(megabytes, || gnr_kernels::runtime().release_idle())
}

macro_rules! architectures {
    ($($name:ident: $file:literal, $small:literal, $megabytes:literal;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn f64() {
                let _memory = reserve($megabytes);
                check_golden(&Cpu::<f64>::new(), $file, Precision::F64);
            }

            #[test]
            fn f32() {
                let _memory = reserve($megabytes);
                check_golden(&Cpu::<f32>::new(), $file, Precision::F32);
            }
        })+
    };
}

gnr_models::golden_architectures!(architectures);

#[test]
fn smooth_f64() {
    let _memory = reserve(100);
    check_smooth(&Cpu::<f64>::new(), Precision::F64);
}

#[test]
fn smooth_f32() {
    let _memory = reserve(100);
    check_smooth(&Cpu::<f32>::new(), Precision::F32);
}

#[test]
fn swin_values_f64() {
    let _memory = reserve(2600);
    check_swin(&Cpu::<f64>::new(), Precision::F64);
}

#[test]
fn swin_values_f32() {
    let _memory = reserve(2600);
    check_swin(&Cpu::<f32>::new(), Precision::F32);
}
