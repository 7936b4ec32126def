//! Settings that are allowed but hardly intended: each works, is reported before the first step, or is an error.

use std::path::Path;

use crate::support::{TINY, run, write};

/// Trains the tiny recipe with these settings. Returns exit code, standard output, standard error.
fn train(home: &Path, sets: &[&str]) -> (i32, String, String) {
    let recipe = write(home, "r.toml", TINY);
    let out = home.join("out").display().to_string();
    let sets: Vec<String> = sets.iter().map(|set| format!("--set={set}")).collect();
    let mut arguments = vec!["train", recipe.to_str().unwrap(), "--out", &out];
    arguments.extend(sets.iter().map(String::as_str));
    run(&arguments)
}

/// Writes grey 8×8 images of so many classes, in folders.
fn folders(home: &Path, classes: &[&str], pixel: impl Fn(usize) -> u8) {
    for part in ["train", "test"] {
        for (class, name) in classes.iter().enumerate() {
            for number in 0..10 {
                let header = b"P5 8 8 255\n";
                let pixels = [pixel(class); 64];
                write(home, &format!("set/{part}/{name}/{number}.pgm"), [&header[..], &pixels].concat());
            }
        }
    }
}

fn of_folders(home: &Path, more: &[&str]) -> (i32, String, String) {
    let dir = format!("data.dir={:?}", home.join("set").display().to_string());
    let folder = ["data.name=folder", &dir, "train.batch_size=5"];
    train(home, &[&folder[..], more].concat())
}

#[test]
fn what_is_doubtful_is_told_before_the_first_step() {
    for (sets, words) in [
        (&["data.validation=0.05"][..], "holds out 5 images, none of the classes `5`, `6`, `7` and 2 more"),
        (&["data.validation=0.004"], "data.validation = 0.004 of 100 images is none"),
        (&["schedule.warmup_epochs=2"], "schedule.warmup_epochs = 2 is not less than train.epochs = 2"),
        (
            &["schedule.name=step", "schedule.milestones=[1,150]"],
            "schedule.milestones has 150, and the run ends",
        ),
        (&["schedule.name=step"], "schedule.every_epochs = 30 is not less than train.epochs = 2"),
        (&["method.gnr.alpha=0"], "method.gnr.alpha = 0: GNR costs"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let (code, stdout, stderr) = train(home.path(), sets);
        assert_eq!(code, 0, "{sets:?}: {stderr}");
        let warning = stdout.lines().position(|line| line.starts_with("  warning: ") && line.contains(words));
        let first = stdout.lines().position(|line| line.starts_with("epoch "));
        assert!(warning.is_some() && warning < first, "{sets:?}: {stdout}");
    }
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, _) = train(home.path(), &["data.validation=0.1", "schedule.warmup_epochs=1"]);
    assert!(code == 0 && !stdout.contains("warning"), "{stdout}");
}

/// A sweep reports a doubt about all its runs once.
#[test]
fn a_sweep_tells_what_is_doubtful_once() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("out").display().to_string();
    let grid = ["--grid=method.gnr.alpha=0,1", "--set=data.validation=0.05", "--jobs=1"];
    let (code, stdout, stderr) =
        run(&[&["sweep", recipe.to_str().unwrap(), "--out", &out], &grid[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.matches("warning: data.validation = 0.05 holds out 5 images").count(), 1, "{stdout}");
    let alpha = stdout.lines().find(|line| line.starts_with("warning: method.gnr.alpha = 0")).unwrap();
    assert!(alpha.ends_with("(method.gnr.alpha=0 seed=0)"), "{alpha}");
}

#[test]
fn one_class_cannot_be_learned() {
    let home = tempfile::tempdir().unwrap();
    folders(home.path(), &["cat"], |_| 9);
    for more in [&[][..], &["train.label_smoothing=0.1"]] {
        let (code, _, stderr) = of_folders(home.path(), more);
        assert!(code == 1 && stderr.contains("has one class, `cat`"), "{stderr}");
        assert!(stderr.contains("Expected at least two classes"), "{stderr}");
        assert!(!home.path().join("out").exists());
    }
}

/// Black images teach only the frequencies of the classes, and training finds these.
#[test]
fn black_images_are_told_and_give_the_odds_of_guessing() {
    let home = tempfile::tempdir().unwrap();
    folders(home.path(), &["cat", "dog"], |_| 0);
    let (code, stdout, stderr) = of_folders(home.path(), &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("warning: train: 20 of 20 images are blank"), "{stdout}");
    assert!(stdout.contains("test 50.00 %"), "{stdout}");
    let home = tempfile::tempdir().unwrap();
    folders(home.path(), &["cat", "dog"], |_| 0);
    let (code, _, stderr) = of_folders(home.path(), &["data.strict=true"]);
    assert!(code == 1 && stderr.contains("blank"), "{stderr}");
}

#[test]
fn a_radius_beyond_all_numbers_is_named() {
    for (sets, named) in [
        (&["method.gnr=false", "method.sam.rho=1e38"][..], "method.sam.rho = 1e38 is the radius"),
        (&["method.gnr.rho=1e38"], "method.gnr.rho = 1e38 is the radius"),
        (
            &["method.gnr.rho=1e38", "method.gnr.hvp=forward-difference"],
            "method.gnr.rho = 1e38 is the radius",
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let (code, _, stderr) = train(home.path(), sets);
        assert!(
            code == 1 && stderr.contains("training diverged at step 1 (epoch 1): "),
            "{sets:?}: {stderr}"
        );
        assert!(stderr.contains("at the perturbed point is "), "{sets:?}: {stderr}");
        assert!(stderr.contains(named) && stderr.contains("a smaller one may help"), "{sets:?}: {stderr}");
    }
    // A method without a perturbed point has no radius to blame.
    let home = tempfile::tempdir().unwrap();
    let (code, _, stderr) = train(home.path(), &["method.gnr=false", "optimizer.lr=1e30"]);
    assert!(code == 1 && stderr.contains("A smaller optimizer.lr") && !stderr.contains("rho"), "{stderr}");
}
