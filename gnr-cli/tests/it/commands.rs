//! What each command prints and leaves behind when all is well.

use crate::support::{TINY, run, tree, write};

#[test]
fn a_run_and_its_evaluation() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    let out = home.path().join("out");
    let (recipe, out_text) = (recipe.to_str().unwrap(), out.to_str().unwrap());
    let (code, stdout, stderr) = run(&["train", recipe, "--out", out_text]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("SGD + GNR (exact)") && stdout.contains("epoch   2/2"), "{stdout}");
    let files = tree(&out);
    let events = files.iter().find(|file| file.starts_with("events.out.tfevents.")).unwrap();
    let expected = [
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        events,
        "metrics.jsonl",
        "recipe.toml",
    ];
    assert_eq!(files, [&expected[..], &["run.lock", "summary.json"]].concat());
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["finished"], &summary["steps"], &summary["name"]),
        (&true.into(), &12.into(), &"mine".into())
    );

    let last = out.join("checkpoints/last.safetensors");
    let (code, stdout, _) = run(&["eval", last.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["accuracy"], &report["images"]), (&summary["test_accuracy"], &360.into()));

    let (code, _, stderr) = run(&["train", recipe, "--out", out_text]);
    assert!(code == 1 && stderr.contains("gnr resume"), "{stderr}");
    assert_eq!(run(&["resume", out_text, "--quiet"]), (0, String::new(), String::new()));
}

#[test]
fn runs_are_numbered_and_failures_reserve_nothing() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    let train = |sets: &[&str]| {
        let mut command = crate::support::gnr(&["train", recipe.to_str().unwrap(), "--quiet"]);
        command.args(sets).current_dir(home.path()).output().unwrap().status.code()
    };
    assert_eq!(train(&[]), Some(0));
    assert_eq!(train(&["--set", "data.name=cifar10"]), Some(1));
    assert_eq!(train(&[]), Some(0));
    let mut folders: Vec<_> = std::fs::read_dir(home.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    folders.sort();
    assert_eq!(folders, ["mine-1", "mine-2"]);
}

#[test]
fn a_dry_run_prints_the_whole_recipe_and_trains_nothing() {
    let (code, stdout, _) = run(&["train", "--dry-run", "--set", "train.epochs=7"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("epochs = 7") && stdout.contains("# 7 epochs of 22 steps; nothing was trained"),
        "{stdout}"
    );
}

#[test]
fn listings() {
    for (arguments, expected) in [
        (&["models"][..], "resnet20"),
        (&["data"], "fashion-mnist"),
        (&["data", "digits"], "1437 images 1x8x8"),
        (&["data", "cifar10"], "md5 c32a1d4ab5d03f1284b67883e8d87530"),
        (&["data", "fetch", "--help"], "--mirror"),
        (&["data", "bench", "--batches", "2"], "% of the time waiting for images"),
        (&["train", "--list"], "cifar10-resnet20-sam-gnr"),
        (&["train", "--help"], "Examples:"),
    ] {
        let (code, stdout, _) = run(arguments);
        assert!(code == 0 && stdout.contains(expected), "{arguments:?}: {stdout}");
    }
}

#[test]
fn damaged_files_are_listed_and_counted() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "train/cat/a.png", [0x89, b'P', b'N', b'G', 13, 10, 26, 10]);
    let (code, stdout, _) = run(&["data", "verify", home.path().to_str().unwrap()]);
    assert!(code == 1 && stdout.contains("a.png: cannot decode"), "{stdout}");
    assert!(stdout.contains("1 files checked, 1 damaged"), "{stdout}");
    let (code, _, stderr) = run(&["data", "verify", "/nowhere/at/all"]);
    assert!(code == 1 && stderr.contains("/nowhere/at/all"), "{stderr}");
}

/// Data sets without an address, and names that are none.
#[test]
fn what_cannot_be_fetched_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    let (code, _, stderr) = run(&["data", "fetch", "stanford-cars", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("the published address is gone"), "{stderr}");
    let (code, _, stderr) = run(&["data", "fetch", "imagenet", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("image-net.org"), "{stderr}");
    let (code, _, stderr) = run(&["data", "fetch", "cifar11", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("did you mean"), "{stderr}");
}
