//! Starting from weights: load rules, new heads, frozen parameters, groups of the optimiser.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gnr_models::{
    AnyModel, ModelConfig,
    weights::{self, NonFinite},
};
use gnr_nn::Model;
use gnr_train::{ClassMap, EvalRequest, Existing, Outcome, Recipe, Split, check, eval, resume, train};

use crate::support::{Watch, bytes, run, tiny};

/// A small ResNet on the digits, trained for a few steps.
const SMALL: &[&str] = &["model.name=resnet8", "model.widths=[2,2,4]", "train.epochs=2", "data.validation=0"];

fn small(sets: &[&str]) -> Recipe {
    tiny(&[SMALL, sets].concat())
}

fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("last.safetensors")
}

/// The model's tensors of a checkpoint, by name.
fn tensors(path: &Path, classes: usize) -> Vec<(String, Vec<f64>)> {
    let config = ModelConfig::new("resnet8", classes, [1, 8, 8]).with_widths([2, 2, 4]);
    let layout = AnyModel::build(&config).unwrap().layout().clone();
    let values = weights::load(path, &layout, NonFinite::Reject).unwrap().values;
    layout.entries().iter().map(|entry| entry.name.clone()).zip(values).collect()
}

fn weights_of(folder: &Path) -> String {
    format!("model.weights={:?}", last(folder).display().to_string())
}

/// Everything but the classifier stays unchanged, bit for bit: the weights, and BatchNorm's statistics, too.
#[test]
fn a_frozen_backbone_does_not_move() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(small(&["train.epochs=1"]), &first).unwrap();
    let before = tensors(&last(&first), 10);
    let start = weights_of(&first);
    for method in [&["method.gnr=false"][..], &[], &["method.sam=true", "method.gnr.hvp=forward-difference"]]
    {
        let folder =
            home.path().join(format!("second{}", method.len()) + if method.is_empty() { "" } else { "x" });
        let sets = [&[start.as_str(), "model.load=new-head", "model.freeze=backbone"], method].concat();
        run(small(&sets), &folder).unwrap();
        for ((name, before), (_, after)) in before.iter().zip(&tensors(&last(&folder), 10)) {
            let moved = before != after;
            assert_eq!(moved, name.starts_with("linear"), "{method:?}: {name} moved: {moved}");
        }
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("weights.json")).unwrap()).unwrap();
        assert_eq!(report["new_head"], serde_json::json!(["linear.weight", "linear.bias"]));
        // The optimiser has no state for frozen parameters.
        let file = weights::WeightFile::open(&last(&folder)).unwrap();
        let momenta: Vec<_> =
            file.stored().iter().filter(|stored| stored.name.starts_with("optimizer.")).collect();
        assert_eq!(momenta.len(), 2, "{momenta:?}");
    }
}

/// A layer in the middle is frozen: some statistics move and some do not.
#[test]
fn only_what_matches_is_frozen() {
    let home = tempfile::tempdir().unwrap();
    let recipe = small(&["model.freeze=[\"layer1\", \"*.conv2.weight\"]", "train.seed=3"]);
    let config = ModelConfig::new("resnet8", 10, [1, 8, 8]).with_widths([2, 2, 4]);
    let layout = AnyModel::build(&config).unwrap().layout().clone();
    let plan = check(recipe.clone()).unwrap();
    assert!(plan.learned < plan.parameters && plan.parameters == layout.num_parameters());
    run(recipe, home.path()).unwrap();
    let before = layout.initialise(3);
    for (before, (name, after)) in before.iter().zip(&tensors(&last(home.path()), 10)) {
        let frozen = name.starts_with("layer1.") || name.ends_with(".conv2.weight");
        let before: Vec<_> = before.iter().map(|value| f64::from(*value as f32)).collect();
        assert_eq!(before == *after, frozen, "{name}");
    }
}

/// A run with groups, parameters without decay and frozen ones is stopped and resumed.
#[test]
fn fine_tuning_resumes_bit_for_bit() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(small(&["train.epochs=1"]), &first).unwrap();
    let start = weights_of(&first);
    let groups = "optimizer.group=[{match=\"linear\",lr_scale=10},{match=\"layer3.*\",weight_decay=0.1}]";
    for optimizer in [&[][..], &["optimizer.name=adamw", "optimizer.lr=0.01"]] {
        let common = [
            start.as_str(),
            "model.load=new-head",
            "model.freeze=[\"conv1\",\"layer1\"]",
            "optimizer.no_decay=norm-and-bias",
            groups,
        ];
        let recipe = small(&[&common[..], optimizer].concat());
        let name = optimizer.len();
        let (whole, stopped) = (home.path().join(format!("w{name}")), home.path().join(format!("s{name}")));
        run(recipe.clone(), &whole).unwrap();
        let stop = AtomicBool::new(false);
        let mut watch = Watch { stop_at: Some((3, &stop)), ..Watch::default() };
        let outcome = train(recipe, &stopped, Existing::Refuse, &mut watch, &stop).unwrap();
        assert!(matches!(outcome, Outcome::Interrupted { step: 3, .. }), "{outcome:?}");
        // The initial weights are no longer needed.
        fs::rename(last(&first), first.join("away")).unwrap();
        resume(&stopped, &mut (), &AtomicBool::new(false)).unwrap();
        fs::rename(first.join("away"), last(&first)).unwrap();
        assert!(bytes(&whole, "last.safetensors") == bytes(&stopped, "last.safetensors"), "{optimizer:?}");
    }
}

/// A step of plain SGD shows learning rate and weight decay of every tensor: θ₁ = (1 − ηλ)θ₀ − ηg.
#[test]
fn groups_have_their_rates_and_decay() {
    let home = tempfile::tempdir().unwrap();
    let after = |name: &str, sets: &[&str]| {
        let common = [
            "method.gnr=false",
            "optimizer.momentum=0",
            "optimizer.lr=0.5",
            "optimizer.weight_decay=0",
            "schedule.name=constant",
            "train.epochs=1",
            "train.precision=f64",
            "train.batch_size=100",
        ];
        run(small(&[&common[..], sets].concat()), &home.path().join(name)).unwrap();
        tensors(&last(&home.path().join(name)), 10)
    };
    let config = ModelConfig::new("resnet8", 10, [1, 8, 8]).with_widths([2, 2, 4]);
    let layout = AnyModel::build(&config).unwrap().layout().clone();
    let plain = after("plain", &[]);
    let grouped = after(
        "grouped",
        &[
            "optimizer.group=[{match=\"linear\",lr_scale=3,weight_decay=0.2},{match=\"*.bn1.*\",lr_scale=0}]",
            "optimizer.weight_decay=0.1",
            "optimizer.no_decay=norm-and-bias",
        ],
    );
    for (((entry, start), (name, plain)), (_, grouped)) in
        layout.entries().iter().zip(layout.initialise(0)).zip(&plain).zip(&grouped)
    {
        if matches!(entry.role, gnr_nn::Role::Buffer(_)) {
            continue;
        }
        let (scale, decay) = match name.as_str() {
            "linear.weight" => (3.0, 0.2),
            "linear.bias" => (3.0, 0.0),
            _ if name.contains(".bn1.") => (0.0, 0.0),
            _ if entry.shape.len() == 1 => (1.0, 0.0),
            _ => (1.0, 0.1),
        };
        for ((start, plain), grouped) in start.iter().zip(plain).zip(grouped) {
            let gradient = (start - plain) / 0.5;
            let expected = (1.0 - 0.5 * scale * decay) * start - 0.5 * scale * gradient;
            // The gradient is a difference of two numbers of size 1.
            assert!((grouped - expected).abs() < 1e-13, "{name}: {grouped}, expected {expected}");
        }
    }
}

#[test]
fn patterns_that_match_nothing_are_refused_with_the_nearest_names() {
    let error = |sets: &[&str]| check(small(sets)).unwrap_err().to_string();
    let text = error(&["optimizer.group=[{match=\"liner.weight\",lr_scale=2}]"]);
    assert!(text.contains("\"liner.weight\" matches no parameter of resnet8"), "{text}");
    assert!(text.contains("the nearest are `linear.weight`"), "{text}");
    let text = error(&["model.freeze=[\"lay\"]"]);
    assert!(text.contains("model.freeze") && text.contains("`layer1.0."), "{text}");
    let text = error(&["model.freeze=backbone", "optimizer.group=[{match=\"conv1\",lr_scale=2}]"]);
    assert!(text.contains("matches no learned parameter"), "{text}");
    assert!(error(&["model.freeze=[\"*\"]"]).contains("nothing is left to learn"));
}

#[test]
fn rules_of_loading() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(small(&["train.epochs=1"]), &first).unwrap();
    let start = weights_of(&first);
    // The optimiser's state in the file is not an unexpected tensor.
    let plan = check(small(&[&start])).unwrap();
    let report = plan.weights.unwrap();
    assert_eq!(report.matched.len(), report.total());
    assert!(report.unexpected.is_empty() && report.elsewhere > 0);
    // A narrower net is refused by default.
    let narrow = [start.as_str(), "model.widths=[2,2,2]"];
    let text = check(small(&narrow)).unwrap_err().to_string();
    assert!(text.contains("layer3.0.conv1.weight") && text.contains("[4, 2, 3, 3]"), "{text}");
    let report = check(small(&[narrow[0], narrow[1], "model.load=matching"])).unwrap().weights.unwrap();
    assert!(report.mismatched.len() > 3 && !report.matched.is_empty());
}

/// A model of more classes than the data, as with ImageNet weights on a folder of ten of its classes.
#[test]
fn classes_of_the_data_among_more_logits() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(small(&["train.epochs=3", "method.gnr=false"]), &first).unwrap();
    // The rows of the trained classifier move to places 3, 4, … of 14. The others never win, except for one.
    let mut values = tensors(&last(&first), 10);
    let n = values.len();
    let (weight, bias) = (values[n - 2].1.clone(), values[n - 1].1.clone());
    values[n - 2].1 = [&[0.0; 12][..], &weight, &[0.0; 4]].concat();
    values[n - 1].1 = [&[-1e3; 3][..], &bias, &[1e3]].concat();
    let config = ModelConfig::new("resnet8", 14, [1, 8, 8]).with_widths([2, 2, 4]);
    let layout = AnyModel::build(&config).unwrap().layout().clone();
    let path = home.path().join("wide.safetensors");
    let values: Vec<_> = values.into_iter().map(|(_, values)| values).collect();
    weights::save(&path, &layout, &values, weights::Precision::F64, &Default::default()).unwrap();

    let own = EvalRequest { weights: last(&first), overrides: vec![], split: Split::Test, class_map: None };
    let own = eval(&own, |_, _| {}).unwrap();
    let map = home.path().join("map.txt");
    let lines: String =
        own.evaluation.classes.iter().zip(3..).map(|(class, i)| format!("{} {i}\n", class.name)).collect();
    fs::write(&map, lines).unwrap();
    let overrides = ["model.name=resnet8", "model.widths=[2,2,4]"].map(str::to_owned).to_vec();
    let class_map = Some(ClassMap::File(map.display().to_string()));
    let wide = EvalRequest { weights: path, overrides, split: Split::Test, class_map };
    let wide = eval(&wide, |_, _| {}).unwrap();
    assert_eq!(wide.evaluation.accuracy, 0.0, "logit 13 always wins");
    // Writing weights as f64 that were trained in f32 changes nothing.
    assert_eq!(wide.evaluation.accuracy_among_classes, Some(own.evaluation.accuracy));
    assert!(own.evaluation.accuracy > 0.2, "{}", own.evaluation.accuracy);
    let [own5, wide5] = [own, wide].map(|report| report.evaluation.top5_accuracy.unwrap());
    // The strong additional logit takes one place of the five.
    assert!(wide5 < own5 && wide5 > 0.3, "{wide5} {own5}");
}
