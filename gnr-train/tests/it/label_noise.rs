//! Training on noisy labels: what a run reports about them, and separate accuracies on flipped and untouched images.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use gnr_data::{Dataset, Part, digits};
use gnr_nn::Autodiff;
use gnr_train::{
    EpochMetrics, EvalReport, EvalRequest, Existing, Measurement, Split, Subject, SubjectRequest, TrainError,
    check, eval, measure, subject::Description, train,
};

use crate::support::{run, tiny};

const NOISE: &str = "data.label_noise.rate=0.4";
/// Steps too small for single precision: the weights do not change.
const STILL: [&str; 3] = ["optimizer.lr=1e-30", "schedule.name=constant", "train.epochs=1"];

fn epochs(folder: &Path) -> Vec<EpochMetrics> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn evaluated(folder: &Path, split: Split, sets: &[&str]) -> EvalReport {
    let request = EvalRequest {
        weights: folder.join("checkpoints/last.safetensors"),
        overrides: sets.iter().map(|set| (*set).to_owned()).collect(),
        split,
        class_map: None,
    };
    eval(&request, |_, _| {}).unwrap()
}

#[test]
fn the_description_counts_the_labels_trained_on() {
    let lines = |sets: &[&str]| check(tiny(sets)).unwrap().data;
    let whole = lines(&[NOISE, "data.validation=0", "data.subset.per_class=80"]);
    assert!(
        whole[0].starts_with(
            "train: digits train (embedded): 1437 images 1x8x8, 10 classes, \
             575 of 1437 labels flipped (symmetric, rate 0.4, seed 0) (80 of each class"
        ),
        "{whole:?}"
    );
    let flipped = |line: &str| line.rsplit_once("classes, ").map(|(_, counts)| counts.to_owned());
    assert!(flipped(&whole[0]).unwrap().ends_with(" of 800 labels flipped"), "{whole:?}");

    let clean = lines(&[NOISE]);
    assert!(flipped(&clean[0]).unwrap().ends_with(" of 80 labels flipped"), "{clean:?}");
    assert!(!clean[1].contains("flipped") && !clean[2].contains("flipped"), "{clean:?}");
    let noisy = lines(&[NOISE, "data.label_noise.validation=true", "data.label_noise.kind=pairflip"]);
    assert!(flipped(&noisy[1]).unwrap().ends_with(" of 20 labels flipped"), "{noisy:?}");
    assert!(noisy[1].contains("(pairflip, rate 0.4, seed 0)") && !noisy[2].contains("flipped"), "{noisy:?}");
    assert!(!lines(&["data.label_noise=false"]).concat().contains("flipped"));
}

#[test]
fn the_summary_says_what_was_asked_and_what_came_of_it() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[NOISE, "data.label_noise.seed=3"]), home.path()).unwrap();
    let text = fs::read_to_string(home.path().join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    let flipped = summary["label_noise"]["flipped"].as_u64().unwrap();
    assert_eq!(
        summary["label_noise"],
        serde_json::json!(
            {"rate": 0.4, "kind": "symmetric", "seed": 3, "validation": false, "flipped": flipped, "of": 80}
        )
    );
    // Tolerance: hypergeometric, 80 of 1437 at 0.4, has mean 32 and standard deviation 4.3; 5 sigma.
    assert!((11..=53).contains(&flipped), "{flipped}");
    // Every image is seen once an epoch (5 batches of 16), so the counts add up.
    let last = epochs(home.path()).pop().unwrap();
    let correct = |accuracy: f64, of: u64| (accuracy * of as f64).round() as u64;
    let (on_flipped, on_others) =
        (last.train_accuracy_flipped.unwrap(), last.train_accuracy_untouched.unwrap());
    assert_eq!(
        correct(on_flipped, flipped) + correct(on_others, 80 - flipped),
        correct(last.train_accuracy, 80)
    );
    assert_eq!(summary["train_accuracy_flipped"].as_f64(), Some(on_flipped));
    assert_eq!(summary["train_accuracy_untouched"].as_f64(), Some(on_others));

    // TensorBoard has them beside `train/accuracy`.
    let events = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut events = events;
    let events = events.find(|path| path.to_string_lossy().contains("tfevents")).unwrap();
    let events = String::from_utf8_lossy(&fs::read(events).unwrap()).into_owned();
    for tag in ["train/accuracy_flipped", "train/accuracy_untouched"] {
        assert_eq!(events.matches(tag).count(), 3, "one an epoch: {tag}");
    }

    let without = home.path().join("without");
    run(tiny(&[]), &without).unwrap();
    for file in ["summary.json", "metrics.jsonl", "recipe.toml"] {
        let text = fs::read_to_string(without.join(file)).unwrap();
        assert!(
            !text.contains("noise") && !text.contains("flipped") && !text.contains("untouched"),
            "{text}"
        );
    }
}

/// Labels of the whole training set in which classes 5 and 6, and 7 and 8, are exchanged. The images with one of these
/// labels are the flipped ones.
fn exchanged(folder: &Path) -> String {
    let digits = digits(Part::Train).unwrap();
    let lines: Vec<String> = (0..digits.len())
        .map(|index| match digits.label(index).unwrap() {
            5 => "6".to_owned(),
            6 => "5".to_owned(),
            7 => "8".to_owned(),
            8 => "7".to_owned(),
            class => class.to_string(),
        })
        .collect();
    let path = folder.join("labels.txt");
    fs::write(&path, lines.join("\n")).unwrap();
    format!("data.label_noise.file={:?}", path.display().to_string())
}

/// An evaluation counts correct predictions of each label. With weights that do not change, training must have equal
/// counts, however its batches are cut.
#[test]
fn accuracies_apart_are_those_of_the_flipped_and_the_untouched_images() {
    let home = tempfile::tempdir().unwrap();
    let file = exchanged(home.path());
    let variants: &[&[&str]] = &[
        &[],
        &["train.micro_batches=3"],
        &["train.workers=3", "train.batch_size=8"],
        &["method.gnr.batch_fraction=0.5", "train.micro_batches=2"],
    ];
    let mut different = 0;
    for seed in ["train.seed=1", "train.seed=2"] {
        for (index, variant) in variants.iter().enumerate() {
            let folder = home.path().join(format!("{seed}-{index}"));
            let sets = [&STILL[..], &[seed, &file], variant].concat();
            let summary = run(tiny(&sets), &folder).unwrap();
            let noise = summary.label_noise.unwrap();
            assert_eq!((noise.flipped, noise.of), (32, 80));
            let labels = evaluated(&folder, Split::Train, &[]).evaluation.classes;
            let correct = |flipped: bool| {
                let of = |label: &usize| (5..=8).contains(label) == flipped;
                (0..10).filter(of).map(|label| labels[label].correct).sum::<u64>()
            };
            let metrics = epochs(&folder).pop().unwrap();
            assert_eq!(metrics.train_accuracy_flipped, Some(correct(true) as f64 / 32.0), "{sets:?}");
            assert_eq!(metrics.train_accuracy_untouched, Some(correct(false) as f64 / 48.0), "{sets:?}");
            different += usize::from(metrics.train_accuracy_flipped != metrics.train_accuracy_untouched);
        }
    }
    assert!(different > 0);
}

/// Cutting a batch into micro-batches does not matter for blended images either.
#[test]
fn accuracies_apart_of_blended_images() {
    let home = tempfile::tempdir().unwrap();
    let of = |parts: &str| {
        let folder = home.path().join(parts);
        let micro = format!("train.micro_batches={parts}");
        run(tiny(&[&STILL[..], &[NOISE, "data.mixup=1", "train.seed=3", &micro]].concat()), &folder).unwrap();
        let metrics = epochs(&folder).pop().unwrap();
        (metrics.train_accuracy_flipped, metrics.train_accuracy_untouched, metrics.train_accuracy)
    };
    let whole = of("1");
    assert!(whole.0.is_some() && whole.1.is_some());
    assert_eq!(of("5"), whole);
}

#[test]
fn without_flipped_labels_there_is_no_accuracy_on_them() {
    let home = tempfile::tempdir().unwrap();
    let summary = run(tiny(&["data.label_noise.rate=0"]), home.path()).unwrap();
    assert_eq!((summary.train_accuracy_flipped, summary.label_noise.unwrap().flipped), (None, 0));
    assert_eq!(summary.train_accuracy_untouched, Some(summary.train_accuracy));
}

/// Evaluations and measurements use a run's own labels, unless told not to.
#[test]
fn a_run_is_measured_on_the_labels_that_it_was_trained_on() {
    let home = tempfile::tempdir().unwrap();
    let file = exchanged(home.path());
    let folder = home.path().join("run");
    run(tiny(&[&file, "data.validation=0.2", "data.label_noise.validation=true"]), &folder).unwrap();
    let clean = ["data.label_noise=false"];
    for split in [Split::Train, Split::Validation] {
        let (own, published) = (evaluated(&folder, split, &[]), evaluated(&folder, split, &clean));
        assert!(own.data.contains("labels flipped") && !published.data.contains("flipped"), "{}", own.data);
        assert_ne!(own.evaluation.loss, published.evaluation.loss);
        assert_eq!(own.evaluation.images, published.evaluation.images);
    }
    let (own, published) = (evaluated(&folder, Split::Test, &[]), evaluated(&folder, Split::Test, &clean));
    assert_eq!((own.data, own.evaluation), (published.data, published.evaluation));

    let data = |overrides: &[&str]| {
        let overrides = overrides.iter().map(|set| (*set).to_owned()).collect();
        measure(&SubjectRequest { overrides, ..SubjectRequest::new(&folder) }, Describe).unwrap().data
    };
    assert!(data(&[]).ends_with("10 classes, 32 of 80 labels flipped"), "{}", data(&[]));
    assert!(data(&clean).ends_with("10 classes"), "{}", data(&clean));
}

struct Describe;

impl Measurement for Describe {
    type Output = Description;
    fn run<B: Autodiff + 'static>(self, subject: Subject<'_, B>) -> Result<Description, TrainError> {
        Ok(subject.description)
    }
}

#[test]
fn a_list_that_does_not_fit_is_an_error_before_the_run() {
    let home = tempfile::tempdir().unwrap();
    let (list, folder) = (home.path().join("labels.txt"), home.path().join("run"));
    fs::write(&list, "0\n1\n").unwrap();
    let set = format!("data.label_noise.file={:?}", list.display().to_string());
    let error = run(tiny(&[&set]), &folder).unwrap_err().to_string();
    assert!(error.contains("labels.txt: expected 1437 labels") && error.contains("found 2"), "{error}");
    assert!(!folder.exists());
}

#[test]
fn other_noise_is_another_run() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[NOISE]), home.path()).unwrap();
    for other in ["data.label_noise.rate=0.5", "data.label_noise.seed=1", "data.label_noise=false"] {
        let recipe = tiny(&[NOISE, other]);
        let resumed = train(recipe, home.path(), Existing::Resume, &mut (), &AtomicBool::new(false));
        let error = resumed.unwrap_err().to_string();
        assert!(error.contains("another recipe"), "{error}");
    }
}
