//! PyTorch's numbers for whole architectures, in both precisions. Images are smaller where the generic convolution,
//! which gathers its operand and keeps it, would take gigabytes.

use gnr_dfdx::Generic;
use gnr_models::testing::{Precision, Reserved, check_golden, check_smooth, check_swin};

fn reserve(megabytes: usize) -> Reserved {
    gnr_models::testing::reserve(megabytes, || ())
}

macro_rules! architectures {
    ($($name:ident: $file:literal, $small:literal, $megabytes:literal;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn f64() {
                let _memory = reserve($megabytes);
                check_golden(&Generic::<f64>::default(), $small, Precision::F64);
            }

            #[test]
            fn f32() {
                let _memory = reserve($megabytes);
                check_golden(&Generic::<f32>::default(), $small, Precision::F32);
            }
        })+
    };
}

gnr_models::golden_architectures!(architectures);

#[test]
fn smooth_f64() {
    let _memory = reserve(100);
    check_smooth(&Generic::<f64>::default(), Precision::F64);
}

#[test]
fn smooth_f32() {
    let _memory = reserve(100);
    check_smooth(&Generic::<f32>::default(), Precision::F32);
}

#[test]
fn swin_values_f64() {
    let _memory = reserve(2600);
    check_swin(&Generic::<f64>::default(), Precision::F64);
}
