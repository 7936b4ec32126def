//! Averages of a run's weights: which weights they average, what is written, and that training is unaffected.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gnr_train::{EvalRequest, Existing, Split, eval, kept_checkpoints, train};
use safetensors::{Dtype, SafeTensors};

use crate::support::{Watch, bytes, run, tiny};

/// A small ResNet on 80 digits in one batch, in double precision, which keeps the weights of every step.
const EVERY_STEP: &[&str] = &[
    "model.name=resnet8",
    "model.widths=[2,2,2]",
    "train.batch_size=80",
    "train.epochs=4",
    "train.keep_every_epochs=1",
    "train.precision=f64",
];

/// The f64 tensors of a file, by name.
fn tensors(path: &Path) -> Vec<(String, Vec<f64>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = (file.tensors().into_iter())
        .filter(|(_, view)| view.dtype() == Dtype::F64)
        .map(|(name, view)| {
            let values = view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
            (name, values.collect())
        })
        .collect();
    all.sort_by(|a: &(String, Vec<f64>), b| a.0.cmp(&b.0));
    all
}

fn average(folder: &Path) -> PathBuf {
    folder.join("checkpoints/average.safetensors")
}

/// The weights θ₁, θ₂, … of the epochs from 1 on.
fn epochs(folder: &Path) -> Vec<Vec<(String, Vec<f64>)>> {
    kept_checkpoints(folder).unwrap().iter().skip(1).map(|(_, path)| tensors(path)).collect()
}

#[track_caller]
fn assert_close(name: &str, found: &[f64], expected: impl Iterator<Item = f64>) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-14 * expected.abs().max(1.0), "{name}: {found} {expected}");
    }
}

/// The average is over weights and running statistics, each step, from the second epoch on.
#[test]
fn an_exponential_average_is_over_steps_and_has_their_statistics() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["train.average={kind=\"ema\", decay=0.75, from_epoch=1}"];
    run(tiny(&[EVERY_STEP, &sets].concat()), home.path()).unwrap();
    let steps = epochs(home.path());
    let found = tensors(&average(home.path()));
    assert_eq!(found.len(), steps[0].len());
    let mut moved = 0;
    for (k, (name, found)) in found.iter().enumerate() {
        let [a, b, c] = [1, 2, 3].map(|step: usize| &steps[step][k].1);
        // The average is 0.75·(0.75·θ₂ + 0.25·θ₃) + 0.25·θ₄.
        let expected = (0..a.len()).map(|i| 0.5625 * a[i] + 0.1875 * b[i] + 0.25 * c[i]);
        assert_close(name, found, expected);
        moved += usize::from(found != c);
    }
    assert!(moved > 10 && found.iter().any(|(name, _)| name.ends_with("running_var")), "{moved}");
}

/// The average is the mean of the weights at the ends of the last epochs. Its statistics are measured, not averaged.
#[test]
fn stochastic_weight_averaging_is_over_the_ends_of_epochs() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["train.batch_size=16", "train.average={kind=\"swa\", from_epoch=1}"];
    run(tiny(&[EVERY_STEP, &sets].concat()), home.path()).unwrap();
    let ends = epochs(home.path());
    let mut measured = 0;
    for (k, (name, found)) in tensors(&average(home.path())).iter().enumerate() {
        let [a, b, c] = [1, 2, 3].map(|epoch: usize| &ends[epoch][k].1);
        if name.contains("running_") {
            // The statistics are neither those of a step nor their mean.
            measured +=
                usize::from((0..a.len()).all(|i| (found[i] - (a[i] + b[i] + c[i]) / 3.0).abs() > 1e-9));
        } else {
            assert_close(name, found, (0..a.len()).map(|i| (a[i] + b[i] + c[i]) / 3.0));
        }
    }
    assert!(measured > 5, "{measured}");
}

/// With all images in one batch, the statistics of an average over one epoch are those of that batch at θ. The running
/// statistics move a tenth of the way from the old ones to those in the next step.
#[test]
fn measured_statistics_are_those_of_the_training_images() {
    let home = tempfile::tempdir().unwrap();
    let (averaged, longer) = (home.path().join("averaged"), home.path().join("longer"));
    // With a constant learning rate the longer run begins like the shorter one.
    let common = ["schedule.name=constant", "method.gnr=false", "data.augment=none"];
    let sets = ["train.average={kind=\"swa\", from_epoch=3}"];
    run(tiny(&[EVERY_STEP, &common, &sets].concat()), &averaged).unwrap();
    run(tiny(&[EVERY_STEP, &common, &["train.epochs=5"]].concat()), &longer).unwrap();
    let (fourth, fifth) = (&epochs(&longer)[3], &epochs(&longer)[4]);
    let mut checked = 0;
    for (k, (name, found)) in tensors(&average(&averaged)).iter().enumerate() {
        if name.contains("running_") {
            let (old, new) = (&fourth[k].1, &fifth[k].1);
            for i in 0..found.len() {
                let batch = (new[i] - 0.9 * old[i]) / 0.1;
                // The order of the images in the batch differs, and the difference is divided by 0.1.
                assert!(
                    (found[i] - batch).abs() < 1e-11 * batch.abs().max(1.0),
                    "{name}: {} {batch}",
                    found[i]
                );
            }
            checked += 1;
        } else {
            assert_eq!(found, &fourth[k].1, "{name}: the mean of one epoch is its end");
        }
    }
    assert!(checked > 5);
}

/// Metrics, summary and file agree, and the run itself equals the one without an average.
#[test]
fn an_average_is_evaluated_beside_the_weights() {
    let home = tempfile::tempdir().unwrap();
    let plain = home.path().join("plain");
    let model = ["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=5", "train.eval_every=2"];
    let without = run(tiny(&model), &plain).unwrap();
    assert!(!average(&plain).exists());
    assert_eq!((without.average_test_accuracy, without.average_test_loss), (None, None));
    assert!(!fs::read_to_string(plain.join("summary.json")).unwrap().contains("average"));
    for (name, set, first) in [
        ("ema", "train.average={kind=\"ema\", decay=0.9}", 1),
        ("swa", "train.average.kind=swa", 4), // ¾ of 5 epochs are 3
    ] {
        let folder = home.path().join(name);
        let mut watch = Watch::default();
        let recipe = tiny(&[&model[..], &[set]].concat());
        train(recipe, &folder, Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
        for epoch in &watch.epochs {
            let due = epoch.epoch % 2 == 0 || epoch.epoch == 5;
            let expected = due && epoch.epoch >= first;
            for found in [epoch.average_test_accuracy, epoch.average_test_loss, epoch.average_val_accuracy] {
                assert_eq!(found.is_some(), expected, "{name}, {epoch:?}");
            }
        }
        let last = watch.epochs.last().unwrap();
        assert_eq!(last.test_loss, Some(without.test_loss), "{name}: training is the same");
        assert!(last.average_test_loss != last.test_loss);
        let request = EvalRequest {
            weights: average(&folder),
            overrides: Vec::new(),
            split: Split::Test,
            class_map: None,
        };
        let found = eval(&request, |_, _| {}).unwrap().evaluation;
        assert_eq!(
            (Some(found.accuracy), Some(found.loss)),
            (last.average_test_accuracy, last.average_test_loss)
        );
        let summary: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["average_test_loss"].as_f64(), last.average_test_loss);
        assert_eq!(summary["average_val_accuracy"].as_f64(), last.average_val_accuracy);
    }
}

/// Frozen parameters are not averaged: their weights and statistics keep their bits, and the average has no state for
/// them.
#[test]
fn an_average_of_a_part_leaves_the_rest_alone() {
    let home = tempfile::tempdir().unwrap();
    for kind in ["ema", "swa"] {
        let folder = home.path().join(kind);
        let set = format!("train.average.kind={kind}");
        let small = ["model.name=resnet8", "model.widths=[2,2,2]", "train.keep_every_epochs=3"];
        let frozen = ["model.freeze=[\"conv1\",\"bn1\",\"layer1\"]", "train.precision=f64", set.as_str()];
        run(tiny(&[&small[..], &frozen].concat()), &folder).unwrap();
        let start = tensors(&folder.join("checkpoints/epoch-0000.safetensors"));
        let end = tensors(&average(&folder));
        for ((name, before), (_, after)) in start.iter().zip(&end) {
            let frozen = ["conv1.", "bn1.", "layer1."].iter().any(|part| name.starts_with(part));
            assert_eq!(before == after, frozen, "{kind}: {name}");
        }
        let names: Vec<_> =
            tensors(&folder.join("checkpoints/last.safetensors")).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == "average.weights.mean.linear.weight"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("average.weights.mean.layer1.")));
        let statistics = names.iter().filter(|name| name.starts_with("average.statistics.")).count();
        assert_eq!(statistics > 0, kind == "ema");
    }
}

/// A checkpoint with an average starts another run like one without.
#[test]
fn weights_are_read_from_a_checkpoint_with_an_average() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(tiny(&["train.average.kind=ema"]), &first).unwrap();
    for file in ["last.safetensors", "average.safetensors"] {
        assert!(!bytes(&first, file).is_empty());
        let weights =
            format!("model.weights={:?}", first.join("checkpoints").join(file).display().to_string());
        run(tiny(&[&weights]), &home.path().join(file)).unwrap();
    }
}
