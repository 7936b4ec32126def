//! An error on one rank soon ends the run on all ranks, with its message.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::support::{gnr, last, model, mpirun, recipe, succeeds, told};

/// Runs this shell script on every rank; `$OMPI_COMM_WORLD_RANK` is the rank's number, and `$0` the program.
pub(crate) fn script(ranks: usize, script: &str) -> (Output, Duration) {
    let mut command: Command = mpirun(ranks);
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_gnr")]);
    let started = Instant::now();
    (command.output().unwrap(), started.elapsed())
}

pub(crate) fn refused(ranks: usize, text: &str, expected: &str) -> String {
    let (output, took) = script(ranks, text);
    let words = told(&output);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains(expected), "expected `{expected}` in: {words}");
    assert!(took < Duration::from_secs(120), "took {took:?}");
    words
}

#[test]
fn recipes_that_differ_are_refused_with_the_keys() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("run"));
    let text = format!(
        "exec $0 train {} --out {} --set optimizer.lr=0.0$((1 + OMPI_COMM_WORLD_RANK))",
        recipe.display(),
        out.display()
    );
    let words =
        refused(2, &text, "rank 1: the recipe differs between ranks: optimizer.lr is not what rank 0 has");
    assert_eq!(words.matches("optimizer.lr is not").count(), 1, "told once: {words}");
    assert!(!out.exists(), "nothing was begun");
}

#[test]
fn a_batch_that_does_not_reach_every_rank_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("run"));
    for (sets, expected) in [
        ("--set train.batch_size=2", "train.batch_size = 2: expected an image or more for each of 3 ranks"),
        ("--set method.group=5", "parallel.perturbation = \"local\""),
        ("--set nonsense=1", "unknown key `nonsense`"),
    ] {
        refused(3, &format!("exec $0 train {} --out {} {sets}", recipe.display(), out.display()), expected);
        assert!(!out.exists());
    }
    let local = format!(
        "exec $0 train {} --out {} --set method.vasso=true --set parallel.perturbation=local",
        recipe.display(),
        out.display()
    );
    refused(2, &local, "a regulariser remembers numbers");
}

/// Writes MNIST's IDX files with `images` images, whose labels repeat.
pub(crate) fn mnist(folder: &Path, images: u32, pixel: u8) {
    std::fs::create_dir_all(folder).unwrap();
    for part in ["train", "t10k"] {
        let mut pixels = [0x0803_u32, images, 28, 28].map(u32::to_be_bytes).concat();
        pixels.extend((0..images * 784).map(|k| (k % 251) as u8 ^ pixel));
        let mut labels = [0x0801_u32, images].map(u32::to_be_bytes).concat();
        labels.extend((0..images).map(|k| (k % 10) as u8));
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), pixels).unwrap();
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn data_that_differ_are_refused_with_what_differs() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("run"));
    mnist(&home.path().join("data-0"), 200, 0);
    mnist(&home.path().join("data-1"), 200, 1);
    let text = format!(
        "exec $0 train {} --out {} --set data.name=mnist --set data.dir={}/data-$OMPI_COMM_WORLD_RANK",
        recipe.display(),
        out.display(),
        home.path().display()
    );
    refused(2, &text, "rank 1: the data are not those of rank 0: training images: other pixels");
    assert!(!out.exists(), "nothing was begun");
}

/// When one rank lacks its data, the others learn it and none waits.
#[test]
fn data_that_are_missing_on_one_rank_end_the_run() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("run"));
    mnist(&home.path().join("data-0"), 200, 0);
    let text = format!(
        "exec $0 train {} --out {} --set data.name=mnist --set data.dir={}/data-$OMPI_COMM_WORLD_RANK",
        recipe.display(),
        out.display(),
        home.path().display()
    );
    refused(3, &text, "rank 1: ");
    assert!(!out.exists(), "nothing was begun");
}

/// A full disk on rank 0 ends the run with the error's message. The files that are there continue the run.
#[test]
fn a_full_disk_of_the_first_rank_ends_the_run_and_leaves_what_continues() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, whole, out) = (recipe(home.path()), home.path().join("whole"), home.path().join("run"));
    let arguments = |out: &Path| {
        format!(
            "train {} --quiet --out {} --set train.epochs=3 --set train.log_every_steps=1",
            recipe.display(),
            out.display()
        )
    };
    let output = script(2, &format!("exec $0 {}", arguments(&whole))).0;
    assert!(output.status.success(), "{}", told(&output));
    // The limit is too small for a checkpoint.
    let room = std::fs::metadata(last(&whole)).unwrap().len().div_ceil(512) - 1;
    let limited = format!(
        "trap '' XFSZ; if [ $OMPI_COMM_WORLD_RANK = 0 ]; then ulimit -f {room}; fi; exec $0 {}",
        arguments(&out)
    );
    refused(2, &limited, "rank 0: ");
    succeeds(gnr(
        2,
        &[
            "train",
            recipe.to_str().unwrap(),
            "--quiet",
            "--resume",
            "--out",
            out.to_str().unwrap(),
            "--set",
            "train.epochs=3",
            "--set",
            "train.log_every_steps=1",
        ],
    ));
    assert_eq!(model(&out), model(&whole));
}

/// An error that only one rank can have and that no other asks for: the first rank's output has no room.
#[test]
fn an_error_that_ranks_did_not_agree_on_ends_all_of_them() {
    let home = tempfile::tempdir().unwrap();
    crate::support::trained(2, home.path(), "run", &["train.epochs=1"]);
    let resume = format!(
        "if [ $OMPI_COMM_WORLD_RANK = 0 ]; then exec >/dev/full; fi; exec $0 resume {} --set train.epochs=2",
        home.path().join("run").display()
    );
    refused(2, &resume, "error: rank 0: No space left on device");
}
