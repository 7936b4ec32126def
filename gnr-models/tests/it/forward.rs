//! Every architecture runs, on digits and on odd sizes, and every one of its tensors matters.

use std::cell::RefCell;

use gnr_core::{GradOracle, HvpOracle, Order, Pass, Use, Vector};
use gnr_models::{
    Activation, AnyModel, ModelConfig, Norm,
    efficientnet::{EfficientNet, Stage, Style},
    registry,
    swin::{self, SwinTransformer},
};
use gnr_nn::{
    Arithmetic, Batch, BatchOracle, Buffers, MaskSeed, Mode, Model, ParamVector,
    layers::{DropPath, Dropout},
    predict,
    testing::{Reference, noise},
};

fn run(name: &str, input: [usize; 3]) {
    run_config(&ModelConfig::new(name, 4, input));
}

fn run_config(config: &ModelConfig) {
    run_model(&config.name, &AnyModel::build(config).unwrap(), config.input);
}

/// A model of 4 classes.
fn run_model(name: &str, model: &impl Model, input: [usize; 3]) {
    let b = Reference::new();
    let shape = [&[3], &input[..]].concat();
    let pixels: Vec<_> = (0..shape.iter().product::<usize>() as u64).map(|i| noise(0, i)).collect();
    let batch = Batch::new(b.constant(&pixels, &shape).unwrap(), vec![0, 1, 3]);
    let theta = ParamVector::initial(&b, model.layout(), 1).unwrap();
    let buffers = Buffers::initial(model.layout(), &b).unwrap();
    assert_eq!(predict(model, &b, &theta, &buffers, &batch.images).unwrap().len(), 3 * 4, "{name}");

    let buffers = RefCell::new(buffers);
    let mut oracle = BatchOracle::new(model, &b, &batch, &buffers).with_mode(Mode::Eval);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    for (entry, grad) in model.layout().parameters().zip(here.grad.to_host().unwrap()) {
        assert!(grad.iter().any(|g| *g != 0.0), "{name} {input:?}: {} has no gradient", entry.name);
    }
    let product = oracle.hvp(&here, &here.grad, Use::Again).unwrap();
    assert!(product.norm().unwrap() > 0.0, "{name} {input:?}");
}

/// The reference backend is slow, so every registered name that is small.
#[test]
fn on_digits() {
    let mut small = 0;
    for known in registry() {
        // What needs larger images is larger itself.
        let Ok(model) = AnyModel::build(&ModelConfig::new(known.name, 4, [1, 8, 8])) else { continue };
        if model.layout().num_parameters() < 300_000 {
            run(known.name, [1, 8, 8]);
            small += 1;
        }
    }
    assert!(small >= 5, "only {small} small models");
}

/// Of the large families, the smallest members.
#[test]
fn narrow_and_shallow_members_of_large_families() {
    for (name, input, widths) in
        [("resnet18", [3, 9, 8], [4, 4, 6, 8]), ("resnet50_imagenet", [3, 33, 40], [4, 4, 6, 8])]
    {
        run_config(&ModelConfig::new(name, 4, input).with_widths(widths));
    }
    run_config(&ModelConfig::new("resnext11_2x32d", 4, [3, 9, 8]).with_widths([4, 8, 12]));
    run_config(&ModelConfig::new("wrn10_1", 4, [3, 9, 8]).with_widths([4, 8, 12]));
    run("wrn10_1", [1, 8, 8]);
    run("pyramidnet11_a9", [3, 12, 8]);
    for norm in [Norm::Group, Norm::Layer, Norm::None] {
        let twin = |name: &str| ModelConfig::new(name, 4, [3, 9, 8]).with_norm(norm);
        run_config(&twin("resnet20").with_activation(Activation::Gelu).with_widths([4, 4, 6]));
        run_config(&twin("resnet20_projection").with_activation(Activation::Silu).with_widths([4, 4, 6]));
        run_config(&twin("resnet50_imagenet").with_widths([4, 4, 6, 8]));
        run_config(&twin("resnext11_2x32d").with_widths([4, 8, 12]));
        run_config(&twin("wrn16_1").with_widths([4, 8, 12]));
    }
    for activation in Activation::ALL {
        run_config(&ModelConfig::new("lenet", 4, [1, 8, 8]).with_activation(activation));
        run_config(&ModelConfig::new("mlp", 4, [1, 8, 8]).with_widths([9]).with_activation(activation));
    }
    let vit = ModelConfig::new("vit_tiny_patch4_32", 4, [3, 8, 12]).with_widths([8]);
    run_config(&ModelConfig { depth: Some(2), heads: Some(2), ..vit });
    // Padding, shifts along both axes and along one, odd lengths to merge.
    let swin = swin::Design { patch: 2, window: 3, width: 4, depths: &[2, 2], heads: &[1, 2] };
    run_model("swin", &SwinTransformer::new(&swin, 2, 4), [2, 11, 8]);
    let stages = [
        Stage { blocks: 1, window: 3, stride: 1, expansion: 1, width: 4 },
        Stage { blocks: 2, window: 5, stride: 2, expansion: 2, width: 6 },
    ];
    for style in [Style::Torchvision, Style::Lite] {
        run_model(&format!("{style:?}"), &EfficientNet::new(style, 3, &stages, [4, 8], 4), [3, 11, 14]);
    }
}

/// Dropout and stochastic depth of transformers: off in eval mode, masks by the seed alone, and the same ones in the
/// gradient and in the product, which is its slope.
#[test]
fn noise_of_transformers_is_a_function_of_the_seed() {
    let vit = ModelConfig {
        depth: Some(2),
        heads: Some(2),
        dropout: Some(0.25),
        drop_path: Some(0.5),
        ..ModelConfig::new("vit_tiny_patch4_32", 4, [2, 8, 8]).with_widths([8])
    };
    check_noise(&AnyModel::build(&vit).unwrap());
    let design = swin::Design { patch: 2, window: 2, width: 4, depths: &[2, 1], heads: &[1, 2] };
    let drop_paths = DropPath::linear(0.5, 3).unwrap();
    check_noise(&SwinTransformer::new(&design, 2, 4).with_noise(Dropout::new(0.25).unwrap(), &drop_paths));
}

fn check_noise(model: &impl Model) {
    let b = Reference::new();
    let pixels: Vec<_> = (0..3 * 2 * 8 * 8).map(|i| noise(0, i)).collect();
    let batch = Batch::new(b.constant(&pixels, &[3, 2, 8, 8]).unwrap(), vec![0, 1, 3]);
    // Everywhere away from its start, so that no tensor is without effect.
    let values = (0..).zip(model.layout().parameters()).map(|(k, entry)| {
        let centre = if entry.name.contains("norm") && entry.name.ends_with("weight") { 1.0 } else { 0.0 };
        (0..entry.shape.iter().product::<usize>() as u64).map(|i| centre + 0.3 * noise(k, i)).collect()
    });
    let theta = ParamVector::from_host(&b, model.layout(), &values.collect::<Vec<_>>()).unwrap();
    let buffers = Buffers::initial(model.layout(), &b).unwrap();
    let evaluation = |mode, seed, theta: &ParamVector<Reference>, v: Option<&ParamVector<Reference>>| {
        let masks = MaskSeed::new(seed, 0, 0);
        let buffers = RefCell::new(buffers.clone());
        let mut oracle = BatchOracle::new(model, &b, &batch, &buffers).with_mode(mode).with_masks(masks);
        let here = oracle.evaluate(theta, Pass::Probe, Order::Second).unwrap();
        let mut product = here.grad.clone();
        if let Some(v) = v {
            product = oracle.hvp(&here, v, Use::Again).unwrap();
        }
        (here.loss, here.grad, product)
    };
    let loss = |mode, seed| evaluation(mode, seed, &theta, None).0;
    assert_eq!(loss(Mode::Eval, 1), loss(Mode::Eval, 2));
    assert_eq!(loss(Mode::Train, 1), loss(Mode::Train, 1));
    let seeds: Vec<_> = (1..6).map(|seed| loss(Mode::Train, seed)).collect();
    assert!(seeds.windows(2).all(|pair| pair[0] != pair[1]), "{seeds:?}");

    // Central differences of the gradient are off by h² times a third derivative: four times less for half the step.
    let (_, v, _) = evaluation(Mode::Train, 7, &theta, None);
    let product = evaluation(Mode::Train, 7, &theta, Some(&v)).2;
    let gradient = |h: f64| {
        let mut at = theta.clone();
        at.axpy(h, &v).unwrap();
        evaluation(Mode::Train, 7, &at, None).1
    };
    let error = |h: f64| {
        let mut slope = gradient(h);
        slope.axpy(-1.0, &gradient(-h)).unwrap();
        slope.scale(0.5 / h).unwrap();
        slope.axpy(-1.0, &product).unwrap();
        slope.norm().unwrap() / product.norm().unwrap()
    };
    let h = 2e-5 / v.norm().unwrap();
    let (whole, half) = (error(h), error(0.5 * h));
    assert!(whole < 1e-5 && (whole / half - 4.0).abs() < 0.1, "{whole:e}, with half the step {half:e}");
}

#[test]
fn on_sizes_that_do_not_halve() {
    run("resnet8", [2, 7, 9]);
    run("resnet20_projection", [1, 5, 5]);
    for input in [[1, 28, 28], [3, 32, 32], [1, 4, 4], [2, 11, 13]] {
        run("lenet", input);
    }
}
