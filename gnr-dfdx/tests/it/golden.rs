//! PyTorch's numbers for whole architectures: one line for each, on every backend and precision.

use gnr_dfdx::{Cpu, Generic};
use gnr_models::testing::{Precision, check_golden_file};
use gnr_nn::Autodiff;

/// Checks an architecture, and gives the buffers back that it left for reuse: the next has other lengths, and the largest of them takes
/// 14 GB by itself on the generic path.
fn check_golden<B: Autodiff>(backend: &B, name: &str, precision: Precision) {
    gnr_models::testing::check_golden(backend, name, precision);
    gnr_dfdx::cpu::buffer::release_idle();
}

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
    vit_tiny_patch4_32,
    vit_tiny_patch16_224,
    vit_small_patch4_32,
    vit_small_patch16_224,
    swin_t,
}

/// Nets with a smooth activation and without batch normalisation, from PyTorch (`gnr-models/tests/fixtures/make_smooth.py`).
mod smooth {
    use super::*;

    fn check<B: Autodiff>(backend: &B, precision: Precision) {
        for (name, choices) in
            [("resnet8", "gelu_group"), ("wrn10_1", "silu_layer"), ("wrn10_1", "gelu_none")]
        {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../gnr-models/tests/fixtures");
            let fixture = format!("{folder}/smooth_{name}_{choices}.json");
            check_golden_file(backend, fixture.as_ref(), name, precision);
        }
    }

    #[test]
    fn cpu_f64() {
        check(&Cpu::<f64>::new(), Precision::F64);
    }

    #[test]
    fn generic_f64() {
        check(&Generic::<f64>::default(), Precision::F64);
    }

    #[test]
    fn cpu_f32() {
        check(&Cpu::<f32>::new(), Precision::F32);
    }

    #[test]
    fn generic_f32() {
        check(&Generic::<f32>::default(), Precision::F32);
    }
}

/// Swin's values, from torchvision (`gnr-models/tests/fixtures/make_swin.py`): shifted and padded windows, merging of odd lengths.
mod swin_values {
    use super::*;

    fn check<B: Autodiff>(backend: &B, precision: Precision) {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../gnr-models/tests/fixtures/swin_t_40x72.json");
        check_golden_file(backend, fixture.as_ref(), "swin_t", precision);
    }

    #[test]
    fn cpu_f64() {
        check(&Cpu::<f64>::new(), Precision::F64);
    }

    #[test]
    fn generic_f64() {
        check(&Generic::<f64>::default(), Precision::F64);
    }

    #[test]
    fn cpu_f32() {
        check(&Cpu::<f32>::new(), Precision::F32);
    }
}
