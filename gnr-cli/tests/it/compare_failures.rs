//! Tests of comparisons of which something failed: runs, tries, methods, and files that are cut off.

use std::fs;

use crate::{
    compare::{arguments, json, recipe, summaries},
    support::{run, tree},
};

#[test]
fn a_method_that_fails_alone_is_in_the_report() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    // The learning rate is so large that the loss is not finite after some steps.
    let more = ["--methods", "base", "--methods", "wild: optimizer.lr=1e30 train.epochs=3", "--no-sharpness"];
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &more));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2 to 3 epochs each"), "{stdout}");
    let row = |text: &str| text.lines().find(|line| line.contains("│ wild")).unwrap_or_default().to_owned();
    assert!(row(&stdout).contains('–') && stdout.contains("Runs that failed"), "{stdout}");
    assert!(stdout.contains("diverged") && stdout.contains("Of wild no seed was trained"), "{stdout}");
    // A method of which every try fails is not trained, and the others are.
    let out = home.path().join("tuned");
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &[&more[..], &["--tune", "2"]].concat()));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("not trained, because every"), "{stdout}");
    assert_eq!(summaries(&out, "runs", "base-").len(), 2);
    assert_eq!(summaries(&out, "runs", "wild-").len(), 0);
    // Without any finished run there is nothing to report.
    let alone = [&more[2..], &["--set", "train.epochs=1"]].concat();
    let (code, _, stderr) = run(&arguments(&recipe, &home.path().join("alone"), &alone));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("no run was trained to its end; wild-0: "), "{stderr}");
}

/// A summary that is cut off is none: the run is finished again, by the same command.
#[test]
fn a_summary_that_is_cut_off_is_written_anew() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let more = ["--methods", "base", "--seeds", "1", "--no-sharpness"];
    assert_eq!(run(&arguments(&recipe, &out, &more)).0, 0);
    let before = summaries(&out, "runs", "base-");
    let summary = tree(&out).into_iter().find(|file| file.ends_with("summary.json")).unwrap();
    fs::write(out.join(summary), "{\"finished\":tr").unwrap();
    let (_, stdout, _) = run(&arguments(&recipe, &out, &[&more[..], &["--dry-run"]].concat()));
    assert!(stdout.contains("to train  base-0"), "{stdout}");
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &more));
    assert!(code == 0 && stdout.contains("training: 1 run, 0 finished before"), "{stdout}{stderr}");
    assert_eq!(summaries(&out, "runs", "base-")[0]["test_accuracy"], before[0]["test_accuracy"]);
}

/// A try that fails in one part is known to the others: none waits for it for ever.
#[test]
fn parts_tell_each_other_what_failed() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let grids = ["--grid", "optimizer.lr=1e30", "--grid", "optimizer.weight_decay=0.0,0.001"];
    let more =
        [&["--methods", "base,sam", "--tune", "2", "--seeds", "1", "--no-sharpness"], &grids[..]].concat();
    let part = |shard| run(&arguments(&recipe, &out, &[&more[..], &["--shard", shard]].concat()));
    let mut ends = Vec::new();
    for shard in ["1/2", "2/2", "1/2", "2/2", "1/2"] {
        let (code, stdout, stderr) = part(shard);
        assert_eq!(code, 0, "{stdout}{stderr}");
        ends.push(stdout);
    }
    assert!(out.join("compare.json").exists(), "{ends:?}");
    let failed: Vec<_> = fs::read_dir(out.join("failed")).unwrap().collect();
    assert!(
        !failed.is_empty() && json(&out)["tuning"][0]["tries"][1]["val_accuracies"] == serde_json::json!([])
    );
}
