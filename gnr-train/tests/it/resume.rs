//! A run that was stopped and resumed equals one that never stopped, bit for bit.

use std::sync::atomic::AtomicBool;

use gnr_train::{
    CheckpointFile, Existing, Outcome, Recipe, TrainError, kept_checkpoints,
    recipe::registry::{Key, Unset, Value},
    resume, train,
};

use crate::support::{TINY, Watch, bytes, run, tiny};

/// Variants with different state: momentum, moments and step count, none; micro-batches; steps within epochs;
/// BatchNorm.
const VARIANTS: &[&[&str]] = &[
    &["method.sam=true", "train.checkpoint_every_steps=2", "train.keep_every_epochs=2"],
    &["optimizer.name=adamw", "optimizer.lr=0.01", "method.gnr.hvp=forward-difference"],
    &["optimizer.momentum=0", "method.gnr.every=3", "train.micro_batches=3", "data.augment=pad-crop-flip"],
    &[
        "data.mixup=0.4",
        "data.cutmix=1",
        "data.random_erasing=true",
        "train.micro_batches=2",
        "method.gnr.batch_fraction=0.5",
    ],
    &[
        "data.label_noise.rate=0.4",
        "data.mixup=1",
        "train.micro_batches=3",
        "data.label_noise.validation=true",
    ],
    // Recorded outputs and averaged weights, over micro-batches, groups and frozen parameters, in single and double
    // precision.
    &["method.saf={epochs=1, from_epoch=1}", "train.micro_batches=3", "data.augment=pad-crop-flip"],
    &["method.saf={epochs=2, from_epoch=0}", "method.group=5", "train.precision=f64"],
    &["method.mesa={beta=0.5, from_epoch=1}", "method.group=5", "model.dropout=0.3"],
    &["method.esam.rho=0.5", "train.micro_batches=3", "method.vasso=true"],
    &["method.gnr.hvp=gauss-newton", "train.micro_batches=2", "method.gnr.batch_fraction=0.5"],
    &["method.sam.from_epoch=1", "method.gnr.from_epoch=2", "method.gnr.every=2"],
    &["train.average={kind=\"ema\", decay=0.9, from_epoch=1}", "optimizer.name=adamw", "optimizer.lr=0.01"],
    &["train.average={kind=\"swa\", from_epoch=1}", "model.dropout=0.3"],
    &[
        "model.name=resnet8",
        "model.widths=[2,2,2]",
        "train.epochs=2",
        "train.average={kind=\"ema\", decay=0.75}",
        "train.checkpoint_every_steps=2",
    ],
    &["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=2", "train.average.kind=swa"],
    &["method.group=5", "method.sam=true", "model.dropout=0.3", "train.checkpoint_every_steps=2"],
    &["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=2", "method.group=8"],
    &["model.dropout=0.3", "train.micro_batches=2", "method.sam=true"],
    &[
        "model.name=resnet8",
        "model.widths=[2,2,2]",
        "train.epochs=2",
        "train.precision=f64",
        "data.validation=0",
    ],
];

/// Every optimiser and schedule that a recipe can name is trained in one go, and also stopped in between and resumed.
#[test]
fn every_registered_method_resumes() {
    for kind in gnr_train::recipe::kinds() {
        for entry in kind.entries {
            let home = tempfile::tempdir().unwrap();
            // Some regularisers act on normalisation layers.
            let (name, model) = match kind.section {
                "method" => (format!("method.{}=true", entry.name), "name = \"resnet8\"\nwidths = [4, 4, 4]"),
                section => {
                    (format!("{section}.name={}", entry.name), "name = \"mlp\"\nwidths = [16]\ndropout = 0.1")
                }
            };
            let text = TINY.replace("name = \"mlp\"\nwidths = [16]", model);
            // Regularisers that wait for an epoch act in the second one here.
            let early =
                matches!(entry.key("from_epoch"), Some(Key { unset: Unset::Value(Value::Integer(1..)), .. }));
            let early = early.then(|| format!("method.{}.from_epoch=1", entry.name));
            let off = if entry.name == "gnr" { "train.seed=0" } else { "method.gnr=false" };
            let sets = [name.clone(), off.into(), "train.epochs=2".into()];
            let sets: Vec<String> = sets.into_iter().chain(early).collect();
            let recipe = Recipe::parse("tiny.toml", "tiny", &text, &sets).unwrap();
            let shown = recipe.method_name();
            let expected = match kind.section {
                "optimizer" => shown == entry.title,
                "method" => shown.contains(entry.title),
                _ => true,
            };
            assert!(expected, "{name} is called {shown} in reports");
            let whole = home.path().join("whole");
            let summary = run(recipe.clone(), &whole).unwrap();
            assert!(summary.test_loss.is_finite(), "{name}");
            let folder = home.path().join("stopped");
            let stop = AtomicBool::new(false);
            let mut watch = Watch { stop_at: Some((4, &stop)), ..Watch::default() };
            train(recipe, &folder, Existing::Refuse, &mut watch, &stop).unwrap();
            resume(&folder, &mut (), &AtomicBool::new(false)).unwrap();
            let (resumed, one_go) = (bytes(&folder, "last.safetensors"), bytes(&whole, "last.safetensors"));
            assert!(resumed == one_go, "{name}: resuming changed the run");
            // Schedule-free methods are also evaluated at their averaged weights, which differ from the trained ones.
            let averages = entry.name.starts_with("schedule-free");
            assert_eq!(summary.average_test_loss.is_some(), averages, "{name}");
            if averages {
                assert_ne!(summary.average_test_loss, Some(summary.test_loss), "{name}");
                let average = "average.safetensors";
                assert!(bytes(&folder, average) == bytes(&whole, average), "{name}: its average");
            }
        }
    }
}

#[test]
fn stopping_anywhere_changes_no_bit() {
    for sets in VARIANTS {
        let home = tempfile::tempdir().unwrap();
        let recipe = tiny(sets);
        let whole = home.path().join("whole");
        let summary = run(recipe.clone(), &whole).unwrap();
        // Stops within an epoch, at its last step, and at the very end.
        for stop_at in [1, 3, summary.steps / recipe.train.epochs, summary.steps - 1, summary.steps] {
            let folder = home.path().join(format!("stopped-at-{stop_at}"));
            let stop = AtomicBool::new(false);
            let mut watch = Watch { stop_at: Some((stop_at, &stop)), ..Watch::default() };
            let outcome = train(recipe.clone(), &folder, Existing::Refuse, &mut watch, &stop).unwrap();
            let Outcome::Interrupted { step, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!(step, stop_at);
            let Outcome::Finished(resumed) = resume(&folder, &mut (), &AtomicBool::new(false)).unwrap()
            else {
                panic!("not finished")
            };
            for checkpoint in ["last.safetensors", "best.safetensors"] {
                assert!(
                    bytes(&folder, checkpoint) == bytes(&whole, checkpoint),
                    "{sets:?}, {stop_at}, {checkpoint}"
                );
            }
            let average = whole.join("checkpoints/average.safetensors").exists();
            assert_eq!(average, recipe.train.average.is_some(), "{sets:?}");
            if average {
                let name = "average.safetensors";
                assert!(bytes(&folder, name) == bytes(&whole, name), "{sets:?}, {stop_at}, {name}");
            }
            for (kept, (_, path)) in
                kept_checkpoints(&folder).unwrap().iter().zip(kept_checkpoints(&whole).unwrap())
            {
                assert!(std::fs::read(&kept.1).unwrap() == std::fs::read(path).unwrap(), "{kept:?}");
            }
            assert_eq!((resumed.test_loss, resumed.best), (summary.test_loss, summary.best));
            assert_eq!(resumed.gradient_evaluations, summary.gradient_evaluations);
            let lines = |folder: &std::path::Path| {
                let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
                let mut lines: Vec<serde_json::Value> =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                // Times are the only difference.
                for line in &mut lines {
                    ["seconds", "train_seconds"]
                        .iter()
                        .for_each(|key| drop(line.as_object_mut().unwrap().remove(*key)));
                }
                lines
            };
            assert_eq!(lines(&folder), lines(&whole));
        }
    }
}

#[test]
fn a_torn_log_and_lines_after_the_checkpoint_are_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let mut watch = Watch { stop_at: Some((7, &stop)), ..Watch::default() };
    let recipe = tiny(&["train.log_every_steps=1"]);
    train(recipe, home.path(), Existing::Refuse, &mut watch, &stop).unwrap();
    let log = home.path().join("metrics.jsonl");
    let before = std::fs::read_to_string(&log).unwrap();
    let torn = format!("{before}{{\"kind\":\"step\",\"step\":8}}\n{{\"kind\":\"ep");
    std::fs::write(&log, torn).unwrap();
    resume(home.path(), &mut (), &AtomicBool::new(false)).unwrap();
    let after = std::fs::read_to_string(&log).unwrap();
    assert!(after.starts_with(&before));
    let steps: Vec<u64> = after
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["kind"] == "step")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=15).collect::<Vec<_>>());
}

#[test]
fn a_folder_is_never_overwritten_and_never_mixed() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("run");
    run(tiny(&[]), &folder).unwrap();
    let refused = |recipe, existing| {
        train(recipe, &folder, existing, &mut (), &AtomicBool::new(false)).unwrap_err().to_string()
    };
    assert!(refused(tiny(&[]), Existing::Refuse).contains("gnr resume"));
    for set in ["optimizer.lr=0.3", "train.threads=2"] {
        let error = refused(tiny(&[set, "train.workers=1"]), Existing::Resume);
        let key = set.split('=').next().unwrap();
        assert!(error.contains(&format!("another recipe, which differs in {key} (compare")), "{error}");
    }
    let other = home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.tex"), "precious").unwrap();
    let error = run(tiny(&[]), &other).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
    // Finished runs resume to an equal summary at once.
    let before = bytes(&folder, "last.safetensors");
    assert!(matches!(resume(&folder, &mut (), &AtomicBool::new(false)).unwrap(), Outcome::Finished(_)));
    assert_eq!(bytes(&folder, "last.safetensors"), before);
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[]), home.path()).unwrap();
    let text = std::fs::read_to_string(home.path().join("recipe.toml")).unwrap();
    std::fs::write(home.path().join("recipe.toml"), text.replace("batch_size = 16", "batch_size = 17"))
        .unwrap();
    let error = resume(home.path(), &mut (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("last.safetensors") && error.contains("another recipe"), "{error}");
}

#[test]
fn a_damaged_checkpoint_names_the_file() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[]), home.path()).unwrap();
    let path = home.path().join("checkpoints/last.safetensors");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let error = resume(home.path(), &mut (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("last.safetensors") && error.contains("not a whole safetensors file"), "{error}");
}

/// A folder with the recipe alone, left by a process that died at once, can be continued.
#[test]
fn a_folder_with_a_recipe_alone_goes_on() {
    let (home, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(tiny(&[]), whole.path()).unwrap();
    std::fs::write(home.path().join("recipe.toml"), tiny(&[]).to_toml().unwrap()).unwrap();
    resume(home.path(), &mut (), &AtomicBool::new(false)).unwrap();
    for name in ["last.safetensors", "best.safetensors"] {
        assert!(bytes(home.path(), name) == bytes(whole.path(), name), "{name}");
    }
}

#[test]
fn a_diverging_run_names_quantity_step_and_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&["optimizer.lr=1e30", "schedule.name=constant", "train.checkpoint_every_steps=1"]);
    let error = run(recipe, home.path()).unwrap_err();
    let TrainError::Diverged { step, checkpoint: Some(checkpoint), .. } = &error else { panic!("{error}") };
    assert!(CheckpointFile::read(checkpoint).unwrap().header().unwrap().progress.step == step - 1);
    assert!(error.to_string().contains("training diverged at step"), "{error}");
}

/// The weights of epochs 0, 2 and the last are kept, without other state. Those of the last epoch are those of the last
/// checkpoint.
#[test]
fn weights_are_kept_along_the_way() {
    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&["train.keep_every_epochs=2"]);
    run(recipe.clone(), home.path()).unwrap();
    let kept = kept_checkpoints(home.path()).unwrap();
    assert_eq!(kept.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [0, 2, 3]);
    let tensors = |name: &str| {
        let bytes = bytes(home.path(), name);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<_> =
            file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
        tensors.retain(|(name, _)| !name.starts_with("optimizer."));
        tensors.sort();
        (tensors, file.len())
    };
    let ((last, of_all), (third, weights)) = (tensors("last.safetensors"), tensors("epoch-0003.safetensors"));
    assert!(last == third && weights == third.len() && of_all > weights);
    assert!(tensors("epoch-0000.safetensors").0 != third);
    let epochs: Vec<_> = kept
        .iter()
        .map(|(_, path)| CheckpointFile::read(path).unwrap().header().unwrap().progress.epoch)
        .collect();
    assert_eq!(epochs, [0, 2, 3]);

    let without = home.path().join("without");
    run(tiny(&[]), &without).unwrap();
    assert_eq!(kept_checkpoints(&without).unwrap(), []);
}
