//! Runs whose network gives every image the same output.

use std::{fs, path::Path};

use gnr_train::{EvalRequest, Existing, Split, eval, resume, train};
use serde_json::Value;

use crate::support::{Watch, bytes, run, tiny};

/// A weight decay under which every weight is soon too small to matter.
pub(crate) const DEADLY: &[&str] = &[
    "schedule.name=constant",
    "optimizer.lr=0.5",
    "optimizer.weight_decay=1.5",
    "optimizer.momentum=0.0",
    "train.epochs=40",
];

fn deadly(sets: &[&str]) -> gnr_train::Recipe {
    tiny(&[DEADLY, sets].concat())
}

fn evaluated(folder: &Path) -> Vec<(u64, bool)> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let evaluated = lines.filter(|line| line.get("test_accuracy").is_some());
    evaluated.map(|line| (line["epoch"].as_u64().unwrap(), line.get("collapsed").is_some())).collect()
}

#[test]
fn a_collapsed_run_says_so_and_ends_early_only_when_asked_to() {
    let home = tempfile::tempdir().unwrap();
    let (whole, early) = (home.path().join("whole"), home.path().join("early"));
    let to_the_end = run(deadly(&["train.eval_every=3"]), &whole).unwrap();
    let since = to_the_end.collapsed_at_epoch.expect("no collapse");
    assert!(since.is_multiple_of(3) && since < 30, "{since}");
    assert_eq!(to_the_end.epochs, 40);
    let first = evaluated(&whole).iter().find(|(_, collapsed)| *collapsed).unwrap().0;
    assert_eq!(first, since, "and so in every evaluation since");

    let ended = run(deadly(&["train.eval_every=3", "train.stop_when_collapsed=true"]), &early).unwrap();
    assert_eq!(ended.epochs, since + 3, "at the second such evaluation");
    assert_eq!(ended.collapsed_at_epoch, Some(since));
    for summary in [&ended, &to_the_end] {
        // Of the 360 test images, 33 to 37 are of a class.
        let images = summary.test_accuracy * 360.0;
        assert!((33.0..=37.0).contains(&images.round()), "all images of one class: {images}");
    }
    assert_eq!(evaluated(&early)[..], evaluated(&whole)[..evaluated(&early).len()]);

    let weights = early.join("checkpoints/last.safetensors");
    let request = EvalRequest { weights, overrides: Vec::new(), split: Split::Test, class_map: None };
    assert!(eval(&request, |_, _| {}).unwrap().evaluation.collapsed);
}

#[test]
fn a_healthy_run_is_not_ended() {
    let home = tempfile::tempdir().unwrap();
    let summary = run(tiny(&["train.stop_when_collapsed=true"]), home.path()).unwrap();
    assert_eq!((summary.epochs, summary.collapsed_at_epoch), (3, None));
    assert!(evaluated(home.path()).iter().all(|(_, collapsed)| !collapsed));
}

/// A run that is stopped between the two evaluations ends where one that never stopped does.
#[test]
fn a_run_that_is_resumed_ends_at_the_same_epoch() {
    let home = tempfile::tempdir().unwrap();
    let (whole, cut) = (home.path().join("whole"), home.path().join("cut"));
    let sets = ["train.eval_every=3", "train.stop_when_collapsed=true"];
    let expected = run(deadly(&sets), &whole).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    // Five steps an epoch: one epoch after the first evaluation that found the collapse.
    let mut watch = Watch { stop_at: Some((5 * (expected.epochs - 2), &stop)), ..Watch::default() };
    let outcome = train(deadly(&sets), &cut, Existing::Refuse, &mut watch, &stop).unwrap();
    assert!(matches!(outcome, gnr_train::Outcome::Interrupted { .. }), "{outcome:?}");
    resume(&cut, &mut (), &std::sync::atomic::AtomicBool::new(false)).unwrap();
    assert_eq!(bytes(&cut, "last.safetensors"), bytes(&whole, "last.safetensors"));
    assert_eq!(evaluated(&cut), evaluated(&whole));
    // A finished run that is resumed again stays as it is.
    resume(&cut, &mut (), &std::sync::atomic::AtomicBool::new(false)).unwrap();
    assert_eq!(bytes(&cut, "last.safetensors"), bytes(&whole, "last.safetensors"));
}

/// Averaged weights count, too: a run goes on while they tell images apart.
#[test]
fn averaged_weights_that_are_alive_keep_a_run_going() {
    let home = tempfile::tempdir().unwrap();
    let (plain, averaged) = (home.path().join("plain"), home.path().join("averaged"));
    let sets = ["train.stop_when_collapsed=true"];
    let without = run(deadly(&sets), &plain).unwrap();
    let slow = ["train.average={kind=\"ema\", decay=0.9}"];
    let with = run(deadly(&[&sets[..], &slow].concat()), &averaged).unwrap();
    assert!(with.epochs > without.epochs, "{} {}", with.epochs, without.epochs);
    assert!(averaged.join("checkpoints/average.safetensors").exists(), "written wherever the run ends");
}
