//! The smooth twins: other activations, normalisation by groups of channels or none.

use std::path::Path;

use std::cell::RefCell;

use gnr_core::{
    GradOracle, HvpOracle, Order, Pass, Use, Vector,
    testing::conformance::{Coupling, Tolerances, check_examples},
};
use gnr_models::{
    Activation, AnyModel, ModelConfig, ModelError, Norm,
    testing::{Precision, check_golden_file},
};
use gnr_nn::{
    Arithmetic, Batch, BatchOracle, Buffers, Model, ParamVector, Role, predict,
    testing::{Reference, noise},
};

/// PyTorch's values up to second order (`fixtures/make_smooth.py`).
#[test]
fn values_of_pytorch() {
    for (name, choices) in [("resnet8", "gelu_group"), ("wrn10_1", "silu_layer"), ("wrn10_1", "gelu_none")] {
        let file = format!("smooth_{name}_{choices}.json");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
        check_golden_file(&Reference::new(), &path, name, Precision::F64);
    }
}

/// Nets of 3 classes on images `[2, 6, 6]`.
fn twin(name: &str, widths: &[usize], activation: Activation, norm: Norm) -> AnyModel {
    let config = ModelConfig::new(name, 3, [2, 6, 6]).with_activation(activation).with_norm(norm);
    AnyModel::build(&config.with_widths(widths)).unwrap()
}

const FAMILIES: [(&str, &[usize]); 4] = [
    ("resnet8", &[4, 6, 8]),
    ("resnet18", &[4, 4, 8, 8]),
    ("resnext11_2x32d", &[4, 4, 8]),
    ("wrn10_1", &[4, 8, 8]),
];

/// All parameters away from their start, so that none is without effect.
fn point(b: &Reference, model: &AnyModel) -> ParamVector<Reference> {
    let values: Vec<_> = (0..)
        .zip(model.layout().parameters())
        .map(|(k, entry)| {
            let centre = if entry.shape.len() == 1 && entry.name.ends_with("weight") { 1.0 } else { 0.0 };
            (0..entry.len() as u64).map(|i| centre + 0.4 * noise(k, i)).collect()
        })
        .collect();
    ParamVector::from_host(b, model.layout(), &values).unwrap()
}

fn images(samples: usize) -> Vec<f64> {
    (0..samples as u64 * 72).map(|i| noise(77, i)).collect()
}

/// Loss, gradient, and the product with `v`.
fn evaluate(
    b: &Reference,
    model: &AnyModel,
    theta: &ParamVector<Reference>,
    (pixels, labels): (&[f64], &[usize]),
    v: &ParamVector<Reference>,
) -> (f64, ParamVector<Reference>, ParamVector<Reference>) {
    let batch = Batch::new(b.constant(pixels, &[labels.len(), 2, 6, 6]).unwrap(), labels.to_vec());
    let buffers = RefCell::new(Buffers::initial(model.layout(), b).unwrap());
    let mut oracle = BatchOracle::new(model, b, &batch, &buffers);
    let here = oracle.evaluate(theta, Pass::Commit, Order::Second).unwrap();
    let product = oracle.hvp(&here, v, Use::Again).unwrap();
    (here.loss, here.grad.clone(), product)
}

fn distance(a: &ParamVector<Reference>, b: &ParamVector<Reference>) -> f64 {
    let mut difference = a.clone();
    difference.axpy(-1.0, b).unwrap();
    difference.norm().unwrap()
}

/// Losses and logits one example at a time, selections and Jᵀu: of nets whose examples are normalised together, and
/// apart.
#[test]
fn examples_are_known_one_by_one() {
    let b = Reference::new();
    for (norm, coupling) in [(Norm::Batch, Coupling::ByBatch), (Norm::Group, Coupling::Apart)] {
        let model = twin("resnet8", &[4, 6, 8], Activation::Gelu, norm);
        let theta = point(&b, &model);
        let mut v = theta.clone();
        v.scale(0.1).unwrap();
        let batch = Batch::new(b.constant(&images(4), &[4, 2, 6, 6]).unwrap(), vec![0, 2, 1, 1]);
        let batch = batch.with_examples(vec![7, 1, 0, 3]);
        let buffers = RefCell::new(Buffers::initial(model.layout(), &b).unwrap());
        let mut oracle = BatchOracle::new(&model, &b, &batch, &buffers);
        check_examples(&mut oracle, &theta, &v, coupling, Tolerances::F64);
    }
}

/// On smooth nets a product is the slope of the gradient: a central difference is off by h² times a third derivative,
/// so by four times less with half the step.
#[test]
fn products_are_slopes_of_the_gradient() {
    let b = Reference::new();
    let kinds = [
        (Activation::Gelu, Norm::Group),
        (Activation::Silu, Norm::Layer),
        (Activation::Tanh, Norm::None),
        (Activation::Gelu, Norm::Batch),
    ];
    for ((name, widths), (activation, norm)) in FAMILIES.into_iter().flat_map(|f| kinds.map(|k| (f, k))) {
        let model = twin(name, widths, activation, norm);
        let (theta, pixels, labels) = (point(&b, &model), images(3), [0, 2, 1]);
        let at = |theta: &ParamVector<Reference>, v: &ParamVector<Reference>| {
            evaluate(&b, &model, theta, (&pixels, &labels), v)
        };
        let v = at(&theta, &theta).1;
        let product = at(&theta, &v).2;
        let error = |h: f64| {
            let gradient = |h: f64| {
                let mut moved = theta.clone();
                moved.axpy(h, &v).unwrap();
                at(&moved, &v).1
            };
            let mut slope = gradient(h);
            slope.axpy(-1.0, &gradient(-h)).unwrap();
            slope.scale(0.5 / h).unwrap();
            distance(&slope, &product) / product.norm().unwrap()
        };
        let h = 1e-4 / v.norm().unwrap();
        let (whole, half) = (error(h), error(0.5 * h));
        assert!(
            whole < 1e-3 && (whole / half - 4.0).abs() < 0.2,
            "{name}, {activation}, {norm}: {whole:e}, with half the step {half:e}"
        );
    }
}

/// Without statistics of the batch, everything the batch says is the mean of what its samples say alone, and the mode
/// changes nothing.
#[test]
fn samples_do_not_know_each_other() {
    let b = Reference::new();
    for ((name, widths), norm) in FAMILIES
        .into_iter()
        .flat_map(|family| [Norm::Group, Norm::Layer, Norm::None].map(|norm| (family, norm)))
    {
        let model = twin(name, widths, Activation::Gelu, norm);
        assert_eq!(model.layout().num_buffers(), 0, "{name}, {norm}");
        let (theta, pixels, labels) = (point(&b, &model), images(3), [0, 2, 1]);
        let (loss, gradient, product) = evaluate(&b, &model, &theta, (&pixels, &labels), &theta);
        let (mut loss_mean, mut gradient_mean, mut product_mean) = (0.0, theta.clone(), theta.clone());
        gradient_mean.scale(0.0).unwrap();
        product_mean.scale(0.0).unwrap();
        for (sample, label) in pixels.chunks(72).zip(labels) {
            let (loss, gradient, product) = evaluate(&b, &model, &theta, (sample, &[label]), &theta);
            loss_mean += loss / 3.0;
            gradient_mean.axpy(1.0 / 3.0, &gradient).unwrap();
            product_mean.axpy(1.0 / 3.0, &product).unwrap();
        }
        assert!((loss - loss_mean).abs() < 1e-12, "{name}, {norm}: {loss} {loss_mean}");
        for (whole, mean) in [(&gradient, &gradient_mean), (&product, &product_mean)] {
            assert!(distance(whole, mean) < 1e-11 * whole.norm().unwrap(), "{name}, {norm}");
        }
        let buffers = Buffers::initial(model.layout(), &b).unwrap();
        let logits = |pixels: &[f64]| {
            let images = b.constant(pixels, &[pixels.len() / 72, 2, 6, 6]).unwrap();
            predict(&model, &b, &theta, &buffers, &images).unwrap()
        };
        let alone: Vec<_> = pixels.chunks(72).flat_map(logits).collect();
        assert!(logits(&pixels).iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-12), "{name}, {norm}");
    }
}

/// Asking for what is there anyway changes neither tensors nor bits.
#[test]
fn the_defaults_by_name_are_the_defaults() {
    let b = Reference::new();
    for (name, widths) in FAMILIES {
        let own = AnyModel::build(&ModelConfig::new(name, 3, [2, 6, 6]).with_widths(widths)).unwrap();
        let named = twin(name, widths, Activation::Relu, Norm::Batch);
        assert_eq!(own.layout(), named.layout(), "{name}");
        let (theta, pixels) = (point(&b, &own), images(3));
        let said = |model| {
            let (loss, gradient, product) = evaluate(&b, model, &theta, (&pixels, &[0, 2, 1]), &theta);
            (loss, gradient.to_host().unwrap(), product.to_host().unwrap())
        };
        assert!(said(&own) == said(&named), "{name}");
    }
}

/// The names of tensors do not depend on what normalises; without normalisation the convolutions have biases.
#[test]
fn tensors_keep_their_names() {
    for (name, widths) in FAMILIES {
        let names = |norm| -> Vec<_> {
            let model = twin(name, widths, Activation::Gelu, norm);
            let learned = |role: &Role| matches!(role, Role::Parameter(_));
            let entries = model.layout().entries().iter().filter(|entry| learned(&entry.role));
            entries.map(|entry| entry.name.clone()).collect()
        };
        assert_eq!(names(Norm::Group), names(Norm::Batch), "{name}");
        assert_eq!(names(Norm::Layer), names(Norm::Batch), "{name}");
        let is_of_norm =
            |name: &String| ["bn", "shortcut.1", "downsample.1"].iter().any(|part| name.contains(part));
        let bare = names(Norm::None);
        let expected: Vec<_> = (names(Norm::Batch).into_iter().filter(|name| !is_of_norm(name)))
            .flat_map(|name| match name.strip_suffix(".weight") {
                Some(module) if !matches!(module, "linear" | "fc") => {
                    vec![name.clone(), format!("{module}.bias")]
                }
                _ => vec![name],
            })
            .collect();
        assert_eq!(bare, expected, "{name}");
    }
}

/// 27 blocks without normalisation: were each residual function as large as its input, the variance would double 27
/// times.
#[test]
fn deep_nets_without_normalisation_start_bounded() {
    let b = Reference::new();
    for name in ["resnet56", "wrn58_1"] {
        let config = ModelConfig::new(name, 3, [2, 6, 6]).with_norm(Norm::None).with_widths([8, 8, 8]);
        let model = AnyModel::build(&config).unwrap();
        let theta = ParamVector::initial(&b, model.layout(), 1).unwrap();
        let buffers = Buffers::initial(model.layout(), &b).unwrap();
        let images = b.constant(&images(4), &[4, 2, 6, 6]).unwrap();
        let logits = predict(&model, &b, &theta, &buffers, &images).unwrap();
        let largest = logits.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        assert!((1e-2..10.0).contains(&largest), "{name}: {largest}");
    }
}

#[test]
fn requests_that_do_not_fit_say_what_would() {
    let digits = |name| ModelConfig::new(name, 10, [1, 8, 8]);
    let groups = |config: ModelConfig, groups| ModelConfig { norm_groups: Some(groups), ..config };
    let cases = [
        (digits("vit_tiny_patch4_32").with_activation(Activation::Silu), "activation", "MLP, LeNet, ResNet"),
        (digits("pyramidnet110_a270").with_activation(Activation::Gelu), "activation", "WideResNet, ResNeXt"),
        (
            digits("lenet").with_norm(Norm::Group),
            "norm",
            "families that have it: ResNet, WideResNet, ResNeXt",
        ),
        (digits("mlp").with_norm(Norm::None), "norm", "families that have it: ResNet, WideResNet, ResNeXt"),
        (groups(digits("resnet8"), 4), "norm_groups", "norm is batch"),
        (groups(digits("resnet8").with_norm(Norm::Layer), 4), "norm_groups", "only `group` has it"),
        (groups(digits("resnet8").with_norm(Norm::Group), 0), "norm_groups", "at least 1"),
        (groups(digits("resnet8").with_norm(Norm::Group), 3), "norm_groups", "`bn1` has 8 channels"),
        (groups(digits("resnet8").with_norm(Norm::Group), 16), "norm_groups", "`bn1` has 8 channels"),
        (
            groups(digits("wrn10_1").with_norm(Norm::Group), 5),
            "norm_groups",
            "`layer1.0.bn1` has 16 channels",
        ),
        (
            groups(digits("resnext11_2x32d").with_norm(Norm::Group).with_widths([6, 6, 8]), 6),
            "norm_groups",
            "`layer3.0.bn1` has 8 channels",
        ),
    ];
    for (config, expected, words) in cases {
        match AnyModel::build(&config) {
            Err(error @ ModelError::Invalid { field, .. }) => {
                assert_eq!(field, expected, "{config:?}");
                assert!(error.to_string().contains(words), "{error}");
            }
            other => panic!("{config:?}: {other:?}"),
        }
    }
    let fitting = groups(digits("resnet8").with_norm(Norm::Group), 8);
    assert!(AnyModel::build(&fitting).is_ok());
}

#[test]
fn choices_are_spelled_as_they_print_and_typos_name_the_nearest() {
    for activation in Activation::ALL {
        assert_eq!(activation.to_string().parse(), Ok(activation));
    }
    for norm in Norm::ALL {
        assert_eq!(norm.to_string().parse(), Ok(norm));
    }
    let error = |result: Result<(), ModelError>| result.unwrap_err().to_string();
    assert_eq!(
        error("glu".parse::<Activation>().map(drop)),
        "there is no activation `glu`; there are relu, gelu, silu, tanh; did you mean `gelu`?"
    );
    assert_eq!(
        error("Groups".parse::<Norm>().map(drop)),
        "there is no norm `Groups`; there are batch, group, layer, none; did you mean `group`?"
    );
}
