//! PyTorch's numbers for whole architectures, in both precisions.

use gnr_burn::Precision as Kind;
use gnr_models::testing::{Precision, Reserved, check_golden, check_smooth, check_swin};

use crate::flex;

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
                check_golden(&flex(Kind::F64), $file, Precision::F64);
            }

            #[test]
            fn f32() {
                let _memory = reserve($megabytes);
                check_golden(&flex(Kind::F32), $file, Precision::F32);
            }
        })+
    };
}

gnr_models::golden_architectures!(architectures);

#[test]
fn smooth_f64() {
    let _memory = reserve(100);
    check_smooth(&flex(Kind::F64), Precision::F64);
}

#[test]
fn smooth_f32() {
    let _memory = reserve(100);
    check_smooth(&flex(Kind::F32), Precision::F32);
}

#[test]
fn swin_values_f64() {
    let _memory = reserve(2600);
    check_swin(&flex(Kind::F64), Precision::F64);
}

#[test]
fn swin_values_f32() {
    let _memory = reserve(2600);
    check_swin(&flex(Kind::F32), Precision::F32);
}
