//! Smooth twins by recipe: `model.activation`, `model.norm`, `model.norm_groups`.

use gnr_train::{EvalRequest, Recipe, Split, eval};

use crate::support::{run, tiny};

const TWIN: [&str; 4] =
    ["model.name=resnet8", "model.widths=[4, 8, 16]", "model.activation=gelu", "model.norm=group"];

#[test]
fn recipes_say_what_was_chosen_and_nothing_else() {
    let text = tiny(&[&TWIN[..], &["model.norm_groups=2"]].concat()).to_toml().unwrap();
    for line in ["activation = \"gelu\"", "norm = \"group\"", "norm_groups = 2"] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let plain = tiny(&[]).to_toml().unwrap();
    let keys = ["activation", "norm ", "norm_groups"];
    assert!(plain.lines().all(|line| !keys.iter().any(|key| line.starts_with(key))), "{plain}");
}

#[test]
fn refusals_list_the_choices() {
    let cases = [
        (
            "activation = \"gleu\"",
            "r.toml:2: `model.activation` = \"gleu\": expected one of relu, gelu, silu, tanh; did you mean \"gelu\"?",
        ),
        (
            "norm = \"groups\"",
            "r.toml:2: `model.norm` = \"groups\": expected one of batch, group, layer, none; did you mean \"group\"?",
        ),
        ("norm = \"group\"\nnorm_groups = 0", "r.toml:3: `model.norm_groups` = 0: must be at least 1"),
        (
            "norm = \"layer\"\nnorm_groups = 2",
            "r.toml:3: `model.norm_groups` only goes with `model.norm` = \"group\"",
        ),
        ("norm_groups = 2", "r.toml:2: `model.norm_groups` only goes with `model.norm` = \"group\""),
    ];
    for (keys, expected) in cases {
        let error = Recipe::parse("r.toml", "r", &format!("[model]\n{keys}"), &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys:?}\n  says     {error}\n  expected {expected}");
    }
    // Settings that depend on the model are refused by the model, before anything is written.
    let home = tempfile::tempdir().unwrap();
    let error = run(tiny(&["model.norm=group"]), &home.path().join("run")).unwrap_err().to_string();
    assert!(error.contains("`mlp`: norm") && error.contains("ResNet, WideResNet, ResNeXt"), "{error}");
    assert!(!home.path().join("run").exists());
}

/// A run trains with GNR's exact products. Its checkpoint gives equal results for images one at a time and all at once.
#[test]
fn a_twin_trains_and_evaluates_one_image_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["method.gnr={ rho = 0.1, alpha = 0.1 }", "train.precision=f64", "train.epochs=12"];
    let summary = run(tiny(&[&TWIN[..], &sets].concat()), home.path()).unwrap();
    // There are ten classes, and 80 images were learned.
    assert!(summary.test_accuracy > 0.5, "{}", summary.test_accuracy);
    let weights = home.path().join("checkpoints/last.safetensors");
    let overrides = vec!["train.eval_batch_size=1".to_owned()];
    let request = EvalRequest { weights, overrides, split: Split::Test, class_map: None };
    let single = eval(&request, |_, _| {}).unwrap().evaluation;
    assert_eq!(single.accuracy, summary.test_accuracy);
    assert!((single.loss - summary.test_loss).abs() < 1e-12, "{} {}", single.loss, summary.test_loss);
}
