//! `gnr eval` on ranks has the result of one process, and the first rank prints it.

use std::path::Path;

use serde_json::Value;

use crate::{
    failures::{mnist, refused},
    support::{gnr, recipe, succeeds, told, trained},
};

/// The output of `gnr eval --json`, which is one object on one line.
fn evaluated(ranks: usize, run: &Path, more: &[&str]) -> Value {
    let arguments = [&["eval", run.to_str().unwrap(), "--json"], more].concat();
    let words = succeeds(gnr(ranks, &arguments));
    assert_eq!(words.trim_end().lines().count(), 1, "the first rank tells alone: {words}");
    serde_json::from_str(&words).unwrap()
}

#[test]
fn counts_are_those_of_one_process_and_the_loss_is_to_rounding() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=1", "data.validation=0.1"];
    trained(1, home.path(), "run", &sets);
    let run = home.path().join("run");
    let mut worst: f64 = 0.0;
    for more in [
        &[][..],
        &["--split", "train"],
        &["--split", "validation", "--class-map", "index"],
        // Batches that do not divide by the ranks, and batches of fewer images than ranks.
        &["--set", "train.eval_batch_size=7"],
        &["--split", "validation", "--set", "train.eval_batch_size=2"],
    ] {
        let alone = evaluated(1, &run, more);
        assert!(alone["images"].as_u64().unwrap() > 0);
        for ranks in [2, 3] {
            let mut found = evaluated(ranks, &run, more);
            let loss = |report: &Value| report["loss"].as_f64().unwrap();
            let difference = (loss(&found) - loss(&alone)).abs() / loss(&alone);
            worst = worst.max(difference);
            // Tolerance: a sum of some hundred terms in f64, in another order.
            assert!(difference < 1e-13, "{more:?} on {ranks} ranks: {difference:e}");
            found["loss"] = alone["loss"].clone();
            assert_eq!(found, alone, "{more:?} on {ranks} ranks");
        }
    }
    // Sums in another order have other bits, which shows that ranks took part.
    println!("largest relative difference of the loss: {worst:.1e}");
    assert!(worst > 0.0);
}

#[test]
fn the_table_is_that_of_one_process() {
    let home = tempfile::tempdir().unwrap();
    trained(1, home.path(), "run", &["train.epochs=1"]);
    let file = home.path().join("run").join("checkpoints").join("best.safetensors");
    let told = [1, 2].map(|ranks| succeeds(gnr(ranks, &["eval", file.to_str().unwrap(), "--per-class"])));
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("accuracy ") && told[0].contains(" of 360)"), "{}", told[0]);
}

/// The first rank has the run folder, and need not share its disk.
#[test]
fn one_rank_reads_the_weights_and_all_need_the_same_images() {
    let home = tempfile::tempdir().unwrap();
    trained(1, home.path(), "run", &["train.epochs=1", "model.name=resnet8", "model.widths=[2,2,2]"]);
    let place = home.path().display();
    // Rank 1 has no folder of this name.
    let elsewhere =
        format!("exec $0 eval {place}/run$(test $OMPI_COMM_WORLD_RANK = 0 || echo -elsewhere) --json");
    let alone = evaluated(1, &home.path().join("run"), &[]);
    let (output, _) = crate::failures::script(2, &elsewhere);
    assert!(output.status.success(), "{}", told(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["correct"], alone["correct"]);
    // Where rank 0 has none either, one rank reports it.
    let words = refused(2, &format!("exec $0 eval {place}/none.safetensors"), "none.safetensors");
    assert_eq!(words.matches("error:").count(), 1, "{words}");
    // Rank 1 has digits of other pixels.
    mnist(&home.path().join("data-0"), 200, 0);
    mnist(&home.path().join("data-1"), 200, 1);
    let dir = format!("data.dir={place}/data-0");
    let sets = ["data.name=mnist", &dir, "train.epochs=1", "data.subset={count=100}"];
    let (recipe, out) = (recipe(home.path()), home.path().join("mnist"));
    let mut arguments = vec!["train", recipe.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()];
    arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
    succeeds(gnr(1, &arguments));
    for command in ["eval", "trace --samples 3 --split test"] {
        let text =
            format!("exec $0 {command} {place}/mnist --set data.dir={place}/data-$OMPI_COMM_WORLD_RANK");
        refused(2, &text, "the images are not those of rank 0");
    }
}

/// Rank 0 alone sees the record of the run's classes, and tells the others.
#[test]
fn other_classes_than_the_runs_are_refused_where_one_rank_has_the_run() {
    let home = tempfile::tempdir().unwrap();
    trained(1, home.path(), "run", &["train.epochs=1"]);
    let record = home.path().join("run").join("data.json");
    let text = std::fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"7\""), "{text}");
    std::fs::write(&record, text.replace("\"7\"", "\"seven\"")).unwrap();
    let place = home.path().display();
    let elsewhere = format!("exec $0 eval {place}/run$(test $OMPI_COMM_WORLD_RANK = 0 || echo -elsewhere)");
    let words = refused(2, &elsewhere, "class 7 is `seven` in the run, but `7` in the data");
    assert_eq!(words.matches("error:").count(), 1, "{words}");
}
