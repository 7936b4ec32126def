//! Runs that continue with more epochs or other data, and the contents of their event files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use gnr_train::{
    CheckpointFile, EpochMetrics, Existing, Extension, Observer, Outcome, Recipe, Start, Summary, TrainError,
    extended, kept_checkpoints, resume, train,
};
use serde_json::Value;

use crate::{
    files::{field, fields, records},
    support::{Watch, bytes, run, tiny},
};

fn stopped(recipe: &Recipe, folder: &Path, at: u64) {
    let stop = AtomicBool::new(false);
    let mut watch = Watch { stop_at: Some((at, &stop)), ..Watch::default() };
    let outcome = train(recipe.clone(), folder, Existing::Refuse, &mut watch, &stop).unwrap();
    assert!(matches!(outcome, Outcome::Interrupted { .. }));
}

fn continued(folder: &Path, sets: &[&str], data: bool) -> Result<Summary, TrainError> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let (recipe, _) = extended(folder, &sets)?;
    let existing = Existing::ResumeChanged { epochs: true, data };
    match train(recipe, folder, existing, &mut (), &AtomicBool::new(false))? {
        Outcome::Finished(summary) => Ok(*summary),
        other => panic!("{other:?}"),
    }
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// With a schedule that does not depend on the end, a run with more epochs equals the run planned with them.
#[test]
fn a_finished_run_with_more_epochs_is_the_longer_run() {
    let home = tempfile::tempdir().unwrap();
    let constant = ["schedule.name=constant", "train.precision=f64"];
    let (short, long) = (home.path().join("short"), home.path().join("long"));
    run(tiny(&[&constant[..], &["train.epochs=2"]].concat()), &short).unwrap();
    let summary = continued(&short, &["train.epochs=4"], false).unwrap();
    let planned = run(tiny(&[&constant[..], &["train.epochs=4"]].concat()), &long).unwrap();
    assert_eq!((summary.test_loss, summary.epochs, summary.steps), (planned.test_loss, 4, planned.steps));
    assert_eq!(summary.extensions, [Extension { at_epoch: 2, from: 2, to: 4 }]);
    assert_eq!(planned.extensions, []);
    let epochs =
        |folder: &Path| lines(folder).iter().map(|line| line["train_loss"].clone()).collect::<Vec<_>>();
    assert_eq!(epochs(&short), epochs(&long));
    let recipe = fs::read_to_string(short.join("recipe.toml")).unwrap();
    assert!(recipe.contains("epochs = 4"), "{recipe}");
}

/// Stops a run at the end of an epoch.
struct AtEnd<'a>(u64, &'a AtomicBool);

impl Observer for AtEnd<'_> {
    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        self.1.store(metrics.epoch == self.0, Ordering::Relaxed);
    }
}

/// Copies a run at the end of an epoch, as a process leaves it that is killed there.
struct Killed<'a> {
    at: u64,
    copies: &'a [PathBuf],
    folder: PathBuf,
}

impl Observer for Killed<'_> {
    fn on_start(&mut self, start: &Start<'_>) {
        self.folder = start.folder.to_path_buf();
    }

    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        for copy in self.copies.iter().filter(|_| metrics.epoch == self.at) {
            fs::create_dir_all(copy.join("checkpoints")).unwrap();
            for from in [&self.folder, &self.folder.join("checkpoints")] {
                for file in
                    fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_file())
                {
                    fs::copy(&file, copy.join(file.strip_prefix(&self.folder).unwrap())).unwrap();
                }
            }
        }
    }
}

/// Best and kept weights are written at every epoch, the last checkpoint only at some. What a killed process wrote
/// after the last one belongs to the run only if the run gets there again.
#[test]
fn weights_of_an_abandoned_continuation_do_not_stay() {
    let home = tempfile::tempdir().unwrap();
    let [whole, ended, equal, older] =
        ["whole", "ended", "equal", "older"].map(|name| home.path().join(name));
    let recipe = tiny(&[
        "data.validation=0",
        "train.epochs=12",
        "train.checkpoint_every_epochs=6",
        "train.keep_every_epochs=1",
    ]);
    let copies = [ended.clone(), equal.clone(), older.clone()];
    let mut killed = Killed { at: 10, copies: &copies, folder: PathBuf::new() };
    train(recipe, &whole, Existing::Refuse, &mut killed, &AtomicBool::new(false)).unwrap();
    let best = |folder: &Path| {
        let file = CheckpointFile::read(&folder.join("checkpoints/best.safetensors")).unwrap();
        file.header().unwrap().progress.best
    };
    let kept =
        |folder: &Path| kept_checkpoints(folder).unwrap().into_iter().map(|(epoch, _)| epoch).collect();
    let files = |folder: &Path| fs::read_dir(folder.join("checkpoints")).unwrap().count();

    let summary = continued(&ended, &["train.epochs=6"], false).unwrap();
    assert_eq!(best(&ended), Some(summary.best));
    let epochs: Vec<u64> = kept(&ended);
    assert_eq!(epochs, (0..=6).collect::<Vec<_>>());
    assert_eq!(files(&ended), 9, "with the best and the last checkpoint");

    // An older program wrote the best checkpoint at once. That of epoch 6 is lost, and no other passes for it.
    let of_older = |name: &str| older.join("checkpoints").join(name);
    fs::rename(of_older("best.pending.safetensors"), of_older("best.safetensors")).unwrap();
    continued(&older, &["train.epochs=6"], false).unwrap();
    assert!(!of_older("best.safetensors").exists());

    resume(&equal, &mut (), &AtomicBool::new(false)).unwrap();
    for name in ["best.safetensors", "last.safetensors", "epoch-0009.safetensors"] {
        assert!(bytes(&equal, name) == bytes(&whole, name), "{name}");
    }
    assert_eq!(files(&equal), files(&whole));

    // A process that died after the last checkpoint and before the best one got its name.
    let checkpoints = equal.join("checkpoints");
    fs::rename(checkpoints.join("best.safetensors"), checkpoints.join("best.pending.safetensors")).unwrap();
    resume(&equal, &mut (), &AtomicBool::new(false)).unwrap();
    assert!(bytes(&equal, "best.safetensors") == bytes(&whole, "best.safetensors"));
}

/// A run may end where it is, also at an epoch that had no evaluation or none of the test images.
#[test]
fn a_run_that_ends_where_it_was_stopped_is_evaluated_there() {
    let home = tempfile::tempdir().unwrap();
    let constant = ["schedule.name=constant", "train.average={kind=\"ema\", decay=0.5}"];
    let short =
        run(tiny(&[&constant[..], &["train.epochs=4"]].concat()), &home.path().join("short")).unwrap();
    for later in ["train.eval_every=7", "train.test_only_at_end=true"] {
        let folder = home.path().join(later);
        let planned = tiny(&[&constant[..], &["train.epochs=9", later]].concat());
        let stop = AtomicBool::new(false);
        train(planned, &folder, Existing::Refuse, &mut AtEnd(4, &stop), &stop).unwrap();
        let summary = continued(&folder, &["train.epochs=4"], false).unwrap();
        let found = |s: &Summary| (s.epochs, s.train_loss, s.val_accuracy, s.test_loss, s.average_test_loss);
        assert_eq!(found(&summary), found(&short), "{later}");
        assert_eq!(summary.extensions, [Extension { at_epoch: 4, from: 9, to: 4 }]);
        assert!(folder.join("checkpoints/average.safetensors").exists(), "{later}");
        // The line of the last epoch was replaced, so the run can be continued again.
        let again = continued(&folder, &["train.epochs=4"], false).unwrap();
        assert_eq!(found(&again), found(&short), "{later}");
        assert_eq!(continued(&folder, &["train.epochs=5"], false).unwrap().epochs, 5, "{later}");
        // Older programs wrote a second line of the last epoch. It counts instead of the first one, once.
        let log = folder.join("metrics.jsonl");
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, format!("{text}{}\n", text.lines().last().unwrap())).unwrap();
        let longer = continued(&folder, &["train.epochs=6"], false).unwrap();
        let seconds: f64 = text
            .lines()
            .chain(fs::read_to_string(&log).unwrap().lines().last())
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seconds"].as_f64().unwrap())
            .sum();
        assert!((longer.seconds - seconds).abs() < 1e-9, "{later}: {} instead of {seconds}", longer.seconds);
    }
    // Within an epoch there is no such end.
    let within = home.path().join("within");
    stopped(&tiny(&["train.epochs=9"]), &within, 22);
    let error = continued(&within, &["train.epochs=4"], false).unwrap_err().to_string();
    assert!(
        error.contains("train.epochs = 4: the run has done 4 epochs and a part of the next already"),
        "{error}"
    );
}

#[test]
fn an_extension_says_what_the_learning_rate_does() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&["optimizer.lr=0.2"]), &home.path().join("run")).unwrap();
    let words = |epochs: &str| extended(&home.path().join("run"), &[format!("train.epochs={epochs}")]);
    // Three epochs of a cosine end at 0. After half of six epochs it is at half of the peak.
    let (_, told) = words("6").unwrap();
    assert_eq!(
        told,
        "6 epochs instead of 3, 3 of them done; the learning rate of the next step is 1.000e-1, where the old schedule has 0.000e0"
    );
    let error = words("2").unwrap_err().to_string();
    assert!(error.contains("train.epochs = 2: the run has done 3 epochs already"), "{error}");
    for (set, key) in [("optimizer.lr=0.1", "optimizer.lr"), ("train.threads=2", "train.threads")] {
        let other = extended(&home.path().join("run"), &[set.into()]).unwrap_err().to_string();
        assert!(other.contains(&format!("{key}: a run that continues can change train.epochs")), "{other}");
    }
    for set in ["train.workers=1", "train.threads=0"] {
        let same = extended(&home.path().join("run"), &[set.into()]);
        assert_eq!(same.unwrap().0.train.threads, 1, "what decides nothing may change");
    }
}

#[test]
fn an_extended_run_that_is_stopped_resumes_to_the_same_bits() {
    let home = tempfile::tempdir().unwrap();
    let (whole, cut) = (home.path().join("whole"), home.path().join("cut"));
    for folder in [&whole, &cut] {
        run(tiny(&["method.sam=true"]), folder).unwrap();
    }
    continued(&whole, &["train.epochs=5"], false).unwrap();
    let (recipe, _) = extended(&cut, &["train.epochs=5".into()]).unwrap();
    let stop = AtomicBool::new(false);
    let mut watch = Watch { stop_at: Some((18, &stop)), ..Watch::default() };
    let existing = Existing::ResumeChanged { epochs: true, data: false };
    train(recipe, &cut, existing, &mut watch, &stop).unwrap();
    assert!(!cut.join("summary.json").exists(), "no longer finished");
    resume(&cut, &mut (), &AtomicBool::new(false)).unwrap();
    assert!(bytes(&cut, "last.safetensors") == bytes(&whole, "last.safetensors"));
}

#[test]
fn changed_data_are_refused_with_what_changed() {
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("labels.txt");
    let labels = |changed: bool| {
        let label = |i: usize| if changed && i.is_multiple_of(3) { 7 } else { i % 10 };
        fs::write(&list, (0..1437).map(|i| format!("{}\n", label(i))).collect::<String>()).unwrap();
    };
    labels(false);
    let folder = home.path().join("run");
    let set = format!("data.label_noise.file={}", list.display());
    stopped(&tiny(&[&set]), &folder, 7);
    let last = bytes(&folder, "last.safetensors");
    labels(true);
    let error = resume(&folder, &mut (), &AtomicBool::new(false)).unwrap_err().to_string();
    for words in
        ["the data changed since the run began: training images:", "of class `7`", "--accept-changed-data"]
    {
        assert!(error.contains(words), "{error}");
    }
    assert!(!error.contains("test images"), "{error}");
    assert!(bytes(&folder, "last.safetensors") == last, "nothing was touched");
    continued(&folder, &[], true).unwrap();
    // From now on these are the run's data.
    labels(false);
    let error = resume(&folder, &mut (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("the data changed"), "{error}");
}

/// Step and tag of every scalar in the one event file.
fn events(folder: &Path) -> Vec<(u64, String)> {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.to_string_lossy().contains("tfevents")).unwrap();
    let mut found = Vec::new();
    // The first record is the format's version.
    for record in &records(&fs::read(file).unwrap())[1..] {
        let event = fields(record);
        let step = event.get(&2).map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
        let mut summary = &event[&5][..];
        while !summary.is_empty() {
            let (_, item, rest) = field(summary);
            found.push((step, String::from_utf8(fields(&item)[&1].clone()).unwrap()));
            summary = rest;
        }
    }
    found
}

#[test]
fn event_files_hold_after_a_resume_what_the_metrics_hold() {
    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&["train.log_every_steps=2"]);
    let (whole, cut) = (home.path().join("whole"), home.path().join("cut"));
    run(recipe.clone(), &whole).unwrap();
    stopped(&recipe, &cut, 9);
    resume(&cut, &mut (), &AtomicBool::new(false)).unwrap();
    assert_eq!(events(&cut), events(&whole));
    let steps = |tag: &str| {
        events(&cut).into_iter().filter(|(_, t)| t == tag).map(|(step, _)| step).collect::<Vec<_>>()
    };
    assert_eq!(steps("step/loss"), [2, 4, 6, 8, 10, 12, 14]);
    assert_eq!(steps("train/loss"), [5, 10, 15]);
    let logged = |kind: &str| lines(&cut).iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((logged("step"), logged("epoch")), (7, 3));
}
