//! PyTorch's numbers for whole architectures: one line for each, on every backend and precision.

use gnr_dfdx::{Cpu, Generic};
use gnr_models::testing::{Precision, check_golden};

macro_rules! architectures {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use super::*;

            #[test]
            fn cpu_f64() {
                check_golden(&Cpu::<f64>::new(), stringify!($name), Precision::F64);
            }

            #[test]
            fn generic_f64() {
                check_golden(&Generic::<f64>::default(), stringify!($name), Precision::F64);
            }

            #[test]
            fn cpu_f32() {
                check_golden(&Cpu::<f32>::new(), stringify!($name), Precision::F32);
            }

            #[test]
            fn generic_f32() {
                check_golden(&Generic::<f32>::default(), stringify!($name), Precision::F32);
            }
        })+
    };
}

architectures! {
    resnet20,
    resnet18,
    resnet18_c100,
    resnet50,
    resnet101,
    resnet101_c100,
    wrn28_2,
    wrn28_10,
    resnext29_32x4d,
    pyramidnet110_a270,
    efficientnet_lite0,
    efficientnet_b0,
}
