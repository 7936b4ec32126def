//! Evaluating checkpoints and published weights.

use std::{fs, path::Path};

use gnr_models::{
    AnyModel, ModelConfig,
    weights::{self, Precision},
};
use gnr_nn::{Init, Model as _};
use gnr_train::{ClassMap, EvalRequest, Split, eval};
use serde_json::Value;

use crate::{
    collapse::DEADLY,
    support::{run, tiny},
};

/// Each epoch of a run with one of these metrics.
fn epochs_with(folder: &Path, metric: &str) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get(metric).is_some()).map(|line| line["epoch"].as_u64().unwrap()).collect()
}

#[test]
fn a_checkpoint_evaluates_to_what_its_run_reported() {
    let home = tempfile::tempdir().unwrap();
    let summary = run(tiny(&[]), home.path()).unwrap();
    let weights = home.path().join("checkpoints/last.safetensors");
    let of = |split| {
        eval(
            &EvalRequest { weights: weights.clone(), overrides: Vec::new(), split, class_map: None },
            |_, _| {},
        )
        .unwrap()
    };
    let test = of(Split::Test).evaluation;
    assert_eq!((test.accuracy, test.loss), (summary.test_accuracy, summary.test_loss));
    assert_eq!((test.images, test.classes.len()), (360, 10));
    assert_eq!(test.classes.iter().map(|class| class.correct).sum::<u64>(), test.correct);
    assert_eq!(Some(of(Split::Validation).evaluation.accuracy), summary.val_accuracy);
    assert_eq!(of(Split::Train).evaluation.images, 80);
}

#[test]
fn training_may_start_from_a_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    let before = run(tiny(&[]), &first).unwrap();
    let weights =
        format!("model.weights={:?}", first.join("checkpoints/last.safetensors").display().to_string());
    let after = run(tiny(&[&weights, "optimizer.lr=1e-9"]), &home.path().join("second")).unwrap();
    assert!((after.test_loss - before.test_loss).abs() < 1e-4, "{} {}", after.test_loss, before.test_loss);
    // A net of another shape loads with load = "matching" only, and only if something matches.
    let wider = [weights.as_str(), "model.widths=[16, 7]"];
    let error = run(tiny(&wider), &home.path().join("third")).unwrap_err().to_string();
    assert!(error.contains("last.safetensors") && error.contains("4.weight"), "{error}");
    assert!(!home.path().join("third").exists(), "nothing is left of a run that could not start");
    run(tiny(&[wider[0], wider[1], "model.load=matching"]), &home.path().join("fourth")).unwrap();
}

#[test]
fn test_images_may_wait_for_the_end_of_the_run() {
    let home = tempfile::tempdir().unwrap();
    let (always, waiting) = (home.path().join("always"), home.path().join("waiting"));
    let sets = ["train.epochs=4", "train.eval_every=2", "train.average={kind=\"ema\", decay=0.5}"];
    let before = run(tiny(&sets), &always).unwrap();
    let after = run(tiny(&[&sets[..], &["train.test_only_at_end=true"]].concat()), &waiting).unwrap();
    let found = |s: &gnr_train::Summary| {
        (
            s.train_loss,
            s.test_accuracy,
            s.test_loss,
            s.val_accuracy,
            s.average_val_accuracy,
            s.average_test_loss,
        )
    };
    assert_eq!(found(&before), found(&after));
    for metric in ["test_accuracy", "test_loss", "average_test_accuracy"] {
        assert_eq!((epochs_with(&always, metric), epochs_with(&waiting, metric)), (vec![2, 4], vec![4]));
    }
    assert_eq!(epochs_with(&waiting, "average_val_accuracy"), [2, 4]);
    // Without validation images there would be nothing to evaluate.
    let alone = home.path().join("alone");
    run(tiny(&["data.validation=0.0", "train.test_only_at_end=true"]), &alone).unwrap();
    assert_eq!(epochs_with(&alone, "test_accuracy"), [1, 2, 3]);
}

/// The validation images decide when a collapsed run ends; the test images are then evaluated.
#[test]
fn a_collapsed_run_that_ends_early_is_tested_there() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["train.test_only_at_end=true", "train.stop_when_collapsed=true", "train.eval_every=3"];
    let summary = run(tiny(&[DEADLY, &sets].concat()), home.path()).unwrap();
    let always = run(tiny(&[DEADLY, &sets[1..]].concat()), &home.path().join("always")).unwrap();
    assert_eq!((summary.epochs, summary.test_loss), (always.epochs, always.test_loss));
    assert!(summary.epochs < 40 && summary.collapsed_at_epoch == Some(summary.epochs - 3), "{summary:?}");
    assert_eq!(epochs_with(home.path(), "test_accuracy"), [summary.epochs]);
    assert_eq!(epochs_with(home.path(), "collapsed"), [summary.epochs - 3, summary.epochs]);
}

/// Writes an image folder with a class for each name: four images of 2x2 pixels in each part.
fn pictures(folder: &Path, classes: &[&str]) {
    for part in ["train", "test"] {
        for (class, shade) in classes.iter().zip([0, 60, 120]) {
            let at = folder.join(part).join(class);
            fs::create_dir_all(&at).unwrap();
            for k in 0..4 {
                let pixels = (0..12).map(|place| shade + 9 * k + place);
                fs::write(
                    at.join(format!("{k}.ppm")),
                    b"P6 2 2 255 ".iter().copied().chain(pixels).collect::<Vec<u8>>(),
                )
                .unwrap();
            }
        }
    }
}

/// Labels are positions in the list of classes, so the logits of a run are for its own classes alone.
#[test]
fn data_of_other_classes_need_a_class_map() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    pictures(&at("pets"), &["cat", "dog"]);
    pictures(&at("others"), &["dog", "emu"]);
    pictures(&at("dogs"), &["dog"]);
    let dir = |name: &str| format!("data.dir={:?}", at(name).display().to_string());
    let own = dir("pets");
    let sets = ["data.name=folder", &own, "!data.subset", "data.validation=0", "train.batch_size=4"];
    run(tiny(&sets), &at("run")).unwrap();
    fs::write(at("map.txt"), "cat\ndog\n").unwrap();
    let map = ClassMap::File(at("map.txt").display().to_string());
    let on = |data: &str, class_map: Option<&ClassMap>| {
        let overrides = vec![dir(data)];
        let request =
            EvalRequest { weights: at("run"), overrides, split: Split::Test, class_map: class_map.cloned() };
        eval(&request, |_, _| {}).map(|report| report.evaluation.images).map_err(|error| error.to_string())
    };
    assert_eq!(on("pets", None), Ok(8));
    for data in ["others", "dogs"] {
        let error = on(data, None).unwrap_err();
        let told = "class 0 is `cat` in the run, but `dog` in the data";
        assert!(error.contains(told) && error.contains("--class-map"), "{error}");
    }
    assert_eq!(on("dogs", Some(&map)), Ok(4));
    assert!(on("others", Some(&map)).unwrap_err().contains("`emu` of the data is not in the map"));
}

/// The keys that go with `model.weights` go with the file that is evaluated.
#[test]
fn published_weights_take_the_rules_of_loading() {
    let home = tempfile::tempdir().unwrap();
    let config = ModelConfig::new("mlp", 10, [1, 8, 8]).with_widths([]);
    let mut layout = AnyModel::build(&config).unwrap().layout().clone();
    layout.root().parameter("aux.weight", &[3], Init::Constant(0.0));
    let path = home.path().join("w.safetensors");
    weights::save(&path, &layout, &layout.initialise(1), Precision::F32, &Default::default()).unwrap();
    let with = |set: &[&str]| {
        let all = [&["model.name=mlp", "model.widths=[]", "train.threads=1"], set].concat();
        let overrides = all.into_iter().map(str::to_owned).collect();
        let request = EvalRequest { weights: path.clone(), overrides, split: Split::Test, class_map: None };
        eval(&request, |_, _| {}).map(|report| report.loaded.unexpected).map_err(|error| error.to_string())
    };
    assert!(with(&[]).unwrap_err().contains("the model has no tensor `aux.weight`"));
    assert_eq!(with(&["model.load=ignore-unexpected"]), Ok(vec!["aux.weight".to_owned()]));
    assert!(with(&["model.weights_key=ema"]).unwrap_err().contains("no tensor under `ema`"));
}
