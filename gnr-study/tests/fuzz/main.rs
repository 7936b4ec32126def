//! What a study reads of a run folder, damaged: none may panic, take long, or take more memory than its size justifies.
//! A binary of its own, because its allocator counts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use gnr_fuzz::Campaign;
use gnr_study::results::{epochs, finished_summary};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"[[",
    b"{\"a\":",
    b"\n",
    b"\"finished\":false",
    b"\"test_accuracy\":null",
    b"\"epoch\"",
    b"\"penalties\":{\"a\":1}",
    b"\xff",
];

/// Damages the file called `file` of a run folder.
fn campaign(
    name: &'static str,
    file: &str,
    seeds: &[&str],
    read: impl Fn(&std::path::Path) -> Result<(), String>,
) {
    let corpora: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz", "corpus"].iter().collect();
    let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let mut campaign = Campaign::new(name, &corpora, seeds, WORDS);
    // A value of JSON takes 32 bytes, a list of them twice that while it grows, an object of one key ten times its
    // text.
    campaign.per_byte = 160;
    // In memory where there is such a folder.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join(file);
    campaign.run(&MEMORY, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(folder.path())
    });
}

#[test]
fn summaries() {
    let seeds = [
        "{\"finished\":true,\"test_accuracy\":0.9,\"steps\":3,\"best\":{\"by\":\"train_loss\",\"value\":0.9,\"epoch\":2,\"test_accuracy\":0.9}}",
        "{\"finished\":true,\"name\":\"a\",\"test_accuracy\":1,\"val_accuracy\":null,\"commit\":\"c\",\"seconds\":0.5}",
    ];
    campaign("summary", "summary.json", &seeds, |run| {
        finished_summary(run).map(drop).map_err(|error| match error.to_string() {
            told if told.contains("expected the summary") => "no whole summary".into(),
            told => told.replace(&*run.to_string_lossy(), "RUN"),
        })
    });
}

#[test]
fn logs_of_epochs() {
    let line = "{\"kind\":\"epoch\",\"epoch\":1,\"step\":1,\"train_loss\":0.5,\"train_accuracy\":0.5,\"learning_rate\":0.1,\
                \"grad_norm\":1.0,\"penalties\":{},\"seconds\":0.1}\n";
    let two =
        format!("{line}{{\"kind\":\"step\",\"step\":1}}\n{}", line.replace("\"epoch\":1", "\"epoch\":2"));
    campaign("epochs", "metrics.jsonl", &[line, &two], |run| match epochs(run) {
        Ok(found) if found.is_empty() => Err("no whole epoch".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string().replace(&*run.to_string_lossy(), "RUN")),
    });
}
