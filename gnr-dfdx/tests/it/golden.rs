//! PyTorch's numbers for whole architectures: one line for each, on every backend and precision.

use gnr_dfdx::{Cpu, Generic};
use gnr_models::testing::{Precision, check_golden, check_golden_file};
use gnr_nn::Autodiff;

use crate::memory::reserve;

/// Each with the file of its values for `Cpu` and the one for `Generic`, and the MB that the dearest of its four tests takes. The
/// generic convolution gathers its operand and keeps it, so its images are smaller where those of the other would take gigabytes.
macro_rules! architectures {
    ($($name:ident: $file:literal, $small:literal, $megabytes:literal;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn cpu_f64() {
                let _memory = reserve($megabytes);
                check_golden(&Cpu::<f64>::new(), $file, Precision::F64);
            }

            #[test]
            fn generic_f64() {
                let _memory = reserve($megabytes);
                check_golden(&Generic::<f64>::default(), $small, Precision::F64);
            }

            #[test]
            fn cpu_f32() {
                let _memory = reserve($megabytes);
                check_golden(&Cpu::<f32>::new(), $file, Precision::F32);
            }

            #[test]
            fn generic_f32() {
                let _memory = reserve($megabytes);
                check_golden(&Generic::<f32>::default(), $small, Precision::F32);
            }
        })+
    };
}

architectures! {
    resnet20: "resnet20", "resnet20", 1000;
    resnet18: "resnet18", "resnet18_16x16", 1500;
    resnet18_c100: "resnet18_c100", "resnet18_c100_16x16", 1500;
    resnet50: "resnet50", "resnet50_imagenet_48x48", 2500;
    resnet101: "resnet101", "resnet101", 100;
    resnet101_c100: "resnet101_c100", "resnet101_c100", 100;
    wrn28_2: "wrn28_2", "wrn28_2_16x16", 700;
    wrn28_10: "wrn28_10", "wrn28_10", 100;
    resnext29_32x4d: "resnext29_32x4d", "resnext29_32x4d_20x20", 2000;
    pyramidnet110_a270: "pyramidnet110_a270", "pyramidnet110_a270", 100;
    efficientnet_lite0: "efficientnet_lite0", "efficientnet_lite0", 100;
    efficientnet_b0: "efficientnet_b0", "efficientnet_b0_64x64", 1500;
    vit_tiny_patch4_32: "vit_tiny_patch4_32", "vit_tiny_patch4_32", 1700;
    vit_tiny_patch16_224: "vit_tiny_patch16_224", "vit_tiny_patch16_224_96x96", 800;
    vit_small_patch4_32: "vit_small_patch4_32", "vit_small_patch4_32", 100;
    vit_small_patch16_224: "vit_small_patch16_224", "vit_small_patch16_224", 100;
    swin_t: "swin_t", "swin_t", 100;
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
            let _memory = reserve(100);
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
        let _memory = reserve(2600);
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
