//! Ranks under a real `mpirun`, oversubscribed where there are few cores.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

fn mpirun(ranks: usize, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, Duration) {
    let started = Instant::now();
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()])
        .arg(env!("CARGO_BIN_EXE_gnr-mpi-check"))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("mpirun cannot be started ({error}); on Debian it is in openmpi-bin"));
    (output, started.elapsed())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn ranks_exchange_what_they_should() {
    for ranks in [2, 3, 4] {
        let (output, _) = mpirun(ranks, &[], &[]);
        let told = text(&output.stdout);
        assert!(output.status.success(), "{told}{}", text(&output.stderr));
        assert!(
            told.contains(&format!("{ranks} ranks, {ranks} on this machine: every exchange is right")),
            "{told}"
        );
    }
}

#[test]
fn a_process_by_itself_needs_no_mpi() {
    let output = Command::new(env!("CARGO_BIN_EXE_gnr-mpi-check")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 ranks, 1 on this machine"));
}

#[test]
fn an_error_of_one_rank_ends_all_with_its_words() {
    let (output, took) = mpirun(3, &["fail", "2"], &[]);
    let told = text(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("error: rank 2: oracle: the image is damaged"), "{told}");
    assert!(took < Duration::from_secs(30), "took {took:?}");
}

#[test]
fn a_rank_that_is_stuck_ends_all() {
    let (output, took) = mpirun(2, &["stuck", "1"], &[("GNR_MPI_TIMEOUT", "2")]);
    let told = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("error: rank 0: the other ranks took no part in `gather` for 2 s (GNR_MPI_TIMEOUT)"),
        "{told}"
    );
    assert!(took < Duration::from_secs(30), "took {took:?}");
}

#[test]
fn a_malformed_timeout_is_told() {
    let (output, _) = mpirun(2, &[], &[("GNR_MPI_TIMEOUT", "soon")]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("GNR_MPI_TIMEOUT = `soon`: expected seconds"),
        "{}",
        text(&output.stderr)
    );
}
