//! What bfloat16 products lose, measured against double precision on small nets; and what TF32 refuses.

use std::cell::RefCell;

use gnr_core::{GradOracle, HvpOracle, Order, Pass, Use, Vector};
use gnr_models::{Activation, AnyModel, ModelConfig, Norm};
use gnr_nn::{Arithmetic, Autodiff, BatchOracle, Buffers, Model, testing::nets::Setting};
use gnr_torch::{Device, Precision, Torch};

use crate::torch;

/// The unit round-off of bfloat16, whose significand has 8 bits.
const UNIT: f64 = 1.0 / 256.0;

/// Loss, gradient and a product at the initial parameters, which are the same in every precision up to single
/// precision's rounding.
struct Answers {
    loss: f64,
    gradient: Vec<f64>,
    product: Vec<f64>,
}

fn answers(model: &AnyModel, images: &[usize], precision: Precision) -> Answers {
    let setting = Setting::new(model, torch(precision), images, 10).unwrap();
    let v = setting.direction(3).unwrap();
    let buffers = RefCell::new(Buffers::initial(model.layout(), &setting.backend).unwrap());
    let mut oracle = BatchOracle::new(model, &setting.backend, &setting.batch, &buffers);
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second).unwrap();
    let product = oracle.hvp(&here, &v, Use::Last).unwrap();
    let host = |x: &gnr_nn::ParamVector<Torch>| x.to_host().unwrap().concat();
    assert!(setting.theta.dim() == host(&product).len());
    Answers { loss: here.loss, gradient: host(&here.grad), product: host(&product) }
}

/// ‖found − expected‖/‖expected‖.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    squares(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / squares(&mut expected.iter().copied())
}

fn config(name: &str, activation: Activation, norm: Norm) -> ModelConfig {
    let mut config = ModelConfig::new(name, 10, [3, 32, 32]);
    (config.activation, config.norm) = (Some(activation), Some(norm));
    config
}

/// What n roundings of relative size u, independent and without bias, come to: √n·u to first order (Higham and Mary,
/// SIAM J. Sci. Comput. 41(5), 2019, with λ = 1). A product has three of them: two operands and the result.
fn roundings(products: usize) -> f64 {
    (3.0 * products as f64).sqrt() * UNIT
}

/// Bounds of the relative errors of loss, gradient and Hessian-vector product of a net of so many layers.
///
/// A layer has one product forwards, three with its gradient, and eight with a product of duals: three forwards, five
/// backwards. Where derivatives jump, inputs of size 1 that are off by δ = `roundings(layers)` fall on the other side
/// with probability φ(0)·δ, φ the normal density. Each such unit is wrong as a whole, so a layer's derivative is off by
/// √(φ(0)·δ), and all layers by √layers as much. A product has jumps in two factors, hence √2 times that.
fn bounds(layers: usize, jumps: bool) -> [f64; 3] {
    let density = (2.0 * std::f64::consts::PI).sqrt().recip();
    let flipped = if jumps { (layers as f64 * density * roundings(layers)).sqrt() } else { 0.0 };
    [roundings(layers), roundings(3 * layers) + flipped, roundings(8 * layers) + 2.0_f64.sqrt() * flipped]
}

/// docs/devices.md has the figures that this prints.
#[test]
fn what_bf16_loses_is_within_its_rounding() {
    let nets = [
        ("resnet8, GELU, GroupNorm", config("resnet8", Activation::Gelu, Norm::Group), 8, false),
        ("wrn10_1, SiLU, LayerNorm", config("wrn10_1", Activation::Silu, Norm::Layer), 10, false),
        ("resnet20, ReLU, BatchNorm", ModelConfig::new("resnet20", 10, [3, 32, 32]), 20, true),
    ];
    for (name, config, layers, jumps) in nets {
        let model = AnyModel::build(&config).unwrap();
        let [exact, single, half] = [Precision::F64, Precision::F32, Precision::Bf16]
            .map(|precision| answers(&model, &[4, 3, 32, 32], precision));
        let errors = |a: &Answers| {
            [
                (a.loss - exact.loss).abs() / exact.loss,
                error(&a.gradient, &exact.gradient),
                error(&a.product, &exact.product),
            ]
        };
        let (single, half, bounds) = (errors(&single), errors(&half), bounds(layers, jumps));
        let shown = |errors: [f64; 3]| errors.map(|error| format!("{error:.1e}")).join(" ");
        println!("{name}: f32 {}; bf16 {}; bounds {}", shown(single), shown(half), shown(bounds));
        for (what, (half, bound)) in ["loss", "gradient", "product"].iter().zip(half.iter().zip(bounds)) {
            assert!(*half < bound, "{name}: {what} off by {half:.1e}, {bound:.1e} allowed");
        }
        // Rounding happened: derivatives in single precision are a thousand times closer.
        assert!(half[1] > 100.0 * single[1] && half[2] > 100.0 * single[2], "{name}: {single:?}, {half:?}");
    }
}

#[test]
fn tensors_stay_in_single_precision_and_products_are_rounded() {
    let b = torch(Precision::Bf16);
    // 1 + 2⁻⁸ is halfway between two numbers of 8 bits; single precision holds it.
    let x = b.constant(&[1.0 + UNIT, 1.0], &[1, 2]).unwrap();
    assert_eq!(b.to_host(&b.affine(&x, 1.0, 0.0).unwrap()).unwrap(), [1.0 + UNIT, 1.0]);
    let identity = b.constant(&[1.0, 0.0, 0.0, 1.0], &[2, 2]).unwrap();
    assert_eq!(b.to_host(&b.matmul(&x, &identity).unwrap()).unwrap(), [1.0, 1.0]);
}

#[test]
fn tf32_is_refused_on_the_cpu() {
    let error = Torch::new(Device::Cpu, Precision::Tf32).unwrap_err().to_string();
    assert!(error.contains("tf32 on the cpu") && error.contains("CUDA cards"), "{error}");
}
