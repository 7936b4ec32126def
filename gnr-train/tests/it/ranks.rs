//! Runs whose ranks share every batch, as threads of this process. `gnr-cli/tests/mpi` runs them under MPI.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gnr_core::testing::Threads;
use gnr_train::{CheckpointFile, Existing, Observer, Outcome, Recipe, StepEvent, Team, TrainError, train_in};

use crate::support::{TINY, bytes, tiny};

/// The results of every rank.
fn on_ranks(
    ranks: usize,
    recipe: &Recipe,
    folder: &Path,
    existing: Existing,
    stops: Option<(usize, u64)>,
) -> Vec<Result<Outcome, TrainError>> {
    Threads::run(ranks, |collective| {
        let stop = AtomicBool::new(false);
        let team = Team::new(Arc::clone(&collective), ranks);
        // Only the first rank's observer is called; the others are asked to stop at once.
        let at = stops.filter(|(rank, _)| *rank == team.rank()).map(|(_, step)| step);
        if at == Some(0) {
            stop.store(true, Ordering::Relaxed);
        }
        struct StopAt<'a>(Option<u64>, &'a AtomicBool);
        impl Observer for StopAt<'_> {
            fn on_step(&mut self, event: &StepEvent) {
                if self.0 == Some(event.step) {
                    self.1.store(true, Ordering::Relaxed);
                }
            }
        }
        train_in(&team, recipe.clone(), folder, existing, &mut StopAt(at, &stop), &stop)
    })
}

fn parameters(folder: &Path) -> Vec<f64> {
    let file = CheckpointFile::read(&folder.join("checkpoints/last.safetensors")).unwrap();
    // Counts, such as the optimiser's step, are not compared with a tolerance.
    let numbers = file.weights().stored().iter().filter(|tensor| tensor.dtype != safetensors::Dtype::U64);
    numbers.flat_map(|tensor| file.weights().values(tensor).unwrap()).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn ranks_train_what_one_process_trains() {
    let home = tempfile::tempdir().unwrap();
    for (name, sets) in [
        ("mlp", &["train.precision=f64", "method.sam=true", "model.dropout=0.2", "data.mixup=1"][..]),
        ("resnet", &["train.precision=f64", "model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=2"]),
        ("pieces", &["train.precision=f64", "train.micro_batches=3", "optimizer.name=adamw"]),
    ] {
        let recipe = tiny(sets);
        let trained = |ranks: usize| {
            let folder = home.path().join(format!("{name}-{ranks}"));
            for outcome in on_ranks(ranks, &recipe, &folder, Existing::Refuse, None) {
                assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
            }
            parameters(&folder)
        };
        let alone = trained(1);
        for ranks in [2, 3] {
            // Tolerance: rounding through fifteen steps of numbers below 10.
            let difference = distance(&trained(ranks), &alone);
            assert!(difference < 1e-11, "{name} on {ranks} ranks: {difference:e}");
        }
    }
}

/// All ranks find a collapse together, and end at the same epoch as one process does.
#[test]
fn a_collapsed_run_ends_on_every_rank() {
    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&[crate::collapse::DEADLY, &["train.stop_when_collapsed=true"]].concat());
    let ends = |ranks: usize| -> Vec<(u64, Option<u64>)> {
        let folder = home.path().join(ranks.to_string());
        let outcomes = on_ranks(ranks, &recipe, &folder, Existing::Refuse, None).into_iter();
        let ends = outcomes.map(|outcome| match outcome.unwrap() {
            Outcome::Finished(summary) => (summary.epochs, summary.collapsed_at_epoch),
            other => panic!("{other:?}"),
        });
        ends.collect()
    };
    let alone = ends(1)[0];
    assert!(alone.0 < 40, "{alone:?}");
    assert_eq!(ends(3), [alone; 3]);
}

/// Whichever rank is asked to stop, all stop after one step, and continue to equal bits.
#[test]
fn a_stopped_run_goes_on_as_if_it_had_not() {
    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&["method.sam=true", "data.augment=pad-crop-flip"]);
    let whole = home.path().join("whole");
    on_ranks(3, &recipe, &whole, Existing::Refuse, None)
        .into_iter()
        .for_each(|outcome| drop(outcome.unwrap()));
    for stops in [(0, 3), (2, 0)] {
        let folder = home.path().join(format!("stopped-{}", stops.0));
        for outcome in on_ranks(3, &recipe, &folder, Existing::Refuse, Some(stops)) {
            assert!(matches!(outcome.unwrap(), Outcome::Interrupted { .. }));
        }
        assert!(!folder.join("summary.json").exists());
        for outcome in on_ranks(3, &recipe, &folder, Existing::Resume, None) {
            assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
        }
        assert!(bytes(&folder, "last.safetensors") == bytes(&whole, "last.safetensors"), "{stops:?}");
    }
}

/// An uncompressed bitmap of 8 x 8 pixels.
fn bitmap(shade: u8) -> Vec<u8> {
    let mut file = b"BM".to_vec();
    for word in [54 + 192_u32, 0, 54, 40, 8, 8] {
        file.extend(word.to_le_bytes());
    }
    file.extend([1, 0, 24, 0]);
    file.extend([0; 24]);
    file.extend((0..192).map(|k| shade.wrapping_mul(31).wrapping_add(k)));
    file
}

#[test]
fn a_damaged_image_of_one_rank_ends_the_run_on_all_with_a_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for part in ["train", "val"] {
        for class in ["a", "b"] {
            let folder = data.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            // There are so many images that not all are compared before the run begins.
            for k in 0..if part == "train" { 600_u32 } else { 4 } {
                let shade = if class == "a" { k } else { k + 128 };
                fs::write(folder.join(format!("{k:04}.bmp")), bitmap(shade as u8)).unwrap();
            }
        }
    }
    let text = TINY.replace("subset = { per_class = 10 }\nvalidation = 0.2", "name = \"folder\"");
    let sets = [
        format!("data.dir={:?}", data.display().to_string()),
        "data.resize={height = 8, width = 8}".into(),
        "data.augment=random-resized-crop".into(),
        "train.batch_size=100".into(),
        "train.epochs=1".into(),
        "method.gnr=false".into(),
    ];
    let recipe = Recipe::parse("folder.toml", "folder", &text, &sets).unwrap();
    let whole = home.path().join("whole");
    for outcome in on_ranks(3, &recipe, &whole, Existing::Refuse, None) {
        assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
    }
    let (image, folder) = (data.join("train/a/0301.bmp"), home.path().join("damaged"));
    let good = fs::read(&image).unwrap();
    fs::write(&image, &good[..100]).unwrap();
    let found = on_ranks(3, &recipe, &folder, Existing::Refuse, None);
    for outcome in &found {
        let Err(TrainError::Rank { message, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("0301.bmp"), "{message}");
    }
    assert!(folder.join("checkpoints/last.safetensors").exists());
    fs::write(&image, good).unwrap();
    for outcome in on_ranks(3, &recipe, &folder, Existing::Resume, None) {
        assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
    }
    assert!(bytes(&folder, "last.safetensors") == bytes(&whole, "last.safetensors"));
}

#[test]
fn what_ranks_cannot_do_is_refused_on_all() {
    let home = tempfile::tempdir().unwrap();
    for (sets, expected) in [
        (&["train.batch_size=2"][..], "train.batch_size = 2: expected an image or more for each of 3 ranks"),
        (&["method.group=4"], "method.group = 4"),
        (&["train.micro_batches=2", "parallel.perturbation=local"], "train.micro_batches = 2"),
        (&["train.micro_batches=2", "method.gnr.batch_fraction=0.5"], "method.gnr.batch_fraction = 0.5"),
        (&["train.micro_batches=2", "method.esam=true"], "method.esam: not with train.micro_batches = 2"),
        (&["method.vasso=true", "parallel.perturbation=local"], "a regulariser remembers numbers"),
        (
            // The last maps of an image of 4×4 are 1×1, with one value a channel.
            &[
                "data.resize={height = 4, width = 4}",
                "model.name=resnet8",
                "model.widths=[2,2,2]",
                "train.batch_size=3",
                "parallel.sync=false",
            ],
            "3 ranks with statistics of their own leave one image",
        ),
        (
            // A rank may have any number of the selected images.
            &[
                "data.resize={height = 4, width = 4}",
                "model.name=resnet8",
                "model.widths=[2,2,2]",
                "method.esam=true",
                "parallel.sync=false",
            ],
            "method.esam.gamma = 0.5 leave one image",
        ),
    ] {
        let folder = home.path().join("run");
        for outcome in on_ranks(3, &tiny(sets), &folder, Existing::Refuse, None) {
            let Err(error) = outcome else { panic!("{sets:?} trains") };
            assert!(error.to_string().contains(expected), "{error}");
        }
        let _ = fs::remove_dir_all(&folder);
    }
}
