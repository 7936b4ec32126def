//! burn's wgpu backend through Vulkan, on the first device that wgpu finds: a card, or Mesa's software driver.
//!
//! `GNR_BURN_VULKAN` names another device by its number. A machine without Vulkan fails these tests.

use std::cell::RefCell;

use gnr_burn::{Burn, Flex, Precision, Wgpu, adapters, memory_bytes};
use gnr_core::{Clip, Gnr, Method, Regularizer, Sam, Sgd, testing::conformance::Tolerances};
use gnr_cpu::Cpu;
use gnr_models::{
    Activation, AnyModel, ModelConfig,
    testing::{Precision as Stored, check_golden, check_smooth},
};
use gnr_nn::{
    Autodiff, BatchOracle, Buffers, Model, ParamVector,
    testing::{
        conformance::{check_backend, check_network},
        nets::{Mixed, Setting, Sums, TanhMlp, difference},
    },
};

pub(crate) fn vulkan() -> Burn<Wgpu> {
    let index = std::env::var("GNR_BURN_VULKAN").map_or(0, |number| number.parse().unwrap());
    Burn::vulkan(index, Precision::F32).unwrap()
}

/// The tolerance is that of f32, which second derivatives through BatchNorm need.
#[test]
fn conformance_f32() {
    check_backend(&vulkan(), 2e-4);
}

#[test]
fn oracles_f32() {
    check_network(&vulkan(), Tolerances::F32);
}

macro_rules! golden {
    ($($name:ident: $file:literal;)+) => {
        $(#[test]
        fn $name() {
            let _memory = gnr_models::testing::reserve(1500, || ());
            check_golden(&vulkan(), $file, Stored::F32);
        })+
    };
}

golden! {
    golden_resnet20: "resnet20";
    golden_resnet18: "resnet18_16x16";
    golden_wrn28_2: "wrn28_2_16x16";
    golden_efficientnet_b0: "efficientnet_b0_64x64";
    golden_vit_tiny: "vit_tiny_patch4_32";
}

#[test]
fn golden_smooth() {
    check_smooth(&vulkan(), Stored::F32);
}

/// θ after steps of a method, and the losses before each.
fn steps<M: Model, B: Autodiff, R>(setting: &Setting<'_, M, B>, regularizer: R, count: u64) -> Vec<f64>
where
    R: for<'o> Regularizer<BatchOracle<'o, M, B>>,
{
    let buffers = RefCell::new(Buffers::initial(setting.model.layout(), &setting.backend).unwrap());
    let mut oracle = BatchOracle::new(setting.model, &setting.backend, &setting.batch, &buffers);
    let mut method = Method { regularizer, optimizer: Sgd::new(), learning_rate: 0.1, clip: Clip::None };
    let mut theta: ParamVector<B> = setting.theta.clone();
    let losses = (0..count).map(|t| method.step(t, &mut theta, &mut oracle).unwrap().loss);
    let losses: Vec<f64> = losses.collect();
    [losses, theta.to_host().unwrap().concat()].concat()
}

/// Steps of SAM and of exact GNR are the CPU engine's in f32. Both round to 6e-8, and second derivatives grow that by
/// the condition of the net; the steps of the CPU engine in f64 say how much.
fn agree<M: Model>(model: &M, images: &[usize], classes: usize) {
    macro_rules! on {
        ($backend:expr, $method:expr) => {
            steps(&Setting::new(model, $backend, images, classes).unwrap(), $method, 3)
        };
    }
    macro_rules! same {
        ($method:expr) => {
            let exact = on!(Cpu::<f64>::new(), $method);
            let (vulkan, cpu) = (on!(vulkan(), $method), on!(Cpu::<f32>::new(), $method));
            let (vulkan, cpu) = (difference(&vulkan, &exact), difference(&cpu, &exact));
            assert!(vulkan < 2e-6 && cpu < 2e-6, "{vulkan:e}, the CPU engine {cpu:e}");
        };
    }
    same!(Sam::new(0.1).unwrap());
    same!(Gnr::new(0.1, 0.5).unwrap());
}

#[test]
fn steps_of_sam_and_of_exact_gnr_are_those_of_the_cpu_engine() {
    agree(&TanhMlp::new(), &[6, 3], 3);
    // Smooth, so that no rounding flips a derivative; with convolutions and BatchNorm.
    let mut config = ModelConfig::new("resnet8", 3, [3, 8, 8]).with_widths(vec![4, 4, 4]);
    config.activation = Some(Activation::Silu);
    agree(&AnyModel::build(&config).unwrap(), &[4, 3, 8, 8], 3);
}

#[test]
fn gradients_and_products_are_those_of_the_cpu_engine() {
    fn compare<M: Model>(model: &M) {
        let found = Setting::new(model, vulkan(), &[6, 3], 3).unwrap().at_noise().unwrap();
        let cpu = Setting::new(model, Cpu::<f64>::new(), &[6, 3], 3).unwrap().at_noise().unwrap();
        let (gradient, products) = found.ask(&[found.direction(1).unwrap()]).unwrap();
        let (expected, expected_products) = cpu.ask(&[cpu.direction(1).unwrap()]).unwrap();
        let errors = [difference(&gradient, &expected), difference(&products[0], &expected_products[0])];
        // Some twenty roundings of 6e-8 in a row, and the error of a shader's tanh and exponential.
        assert!(errors[0] < 1e-5 && errors[1] < 1e-5, "{errors:?}");
    }
    compare(&TanhMlp::new());
    compare(&Mixed::new());
    compare(&Sums::new());
}

#[test]
fn adapters_have_a_name_a_driver_and_memory() {
    let found = adapters().unwrap();
    assert!(!found.is_empty());
    for (index, adapter) in found.iter().enumerate() {
        assert!(!adapter.name.is_empty() && !adapter.driver.is_empty(), "{adapter:?}");
        assert!(memory_bytes(index).unwrap().is_none_or(|bytes| bytes > 1 << 20), "{adapter:?}");
    }
    assert!(found.is_sorted_by_key(|adapter| adapter.kind), "{found:?}");
}

#[test]
fn double_precision_and_numbers_that_no_device_has_are_refused() {
    let error = Burn::vulkan(0, Precision::F64).unwrap_err().to_string();
    assert!(error.contains("no exponential, logarithm, tanh or power in f64"), "{error}");
    // However the device was named.
    let device = vulkan().device().clone();
    let error = Burn::<Wgpu>::on(device, Precision::F64).unwrap_err().to_string();
    assert!(error.contains("no exponential"), "{error}");
    assert!(Burn::<Flex>::new(Precision::F64).is_ok());
    let error = Burn::vulkan(1000, Precision::F32).unwrap_err().to_string();
    assert!(error.contains("device vulkan:1000: wgpu finds"), "{error}");
}
