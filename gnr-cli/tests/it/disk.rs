//! Disks that are full or read-only, wherever it is noticed: the error names the file and the reason, nothing half-written is taken for
//! whole, and with room the same command goes on to the same bits. `GNR_KILLS=50` tries fifty sizes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    jobs::{Job, difference, results, told, trials},
    support::{Tiny, tree},
};

const PAGE: u64 = 4096;

/// Bytes that the files of a folder take, in whole pages.
fn size(folder: &Path) -> u64 {
    let pages = |file: &String| folder.join(file).metadata().unwrap().len().div_ceil(PAGE);
    tree(folder).iter().map(pages).sum::<u64>() * PAGE
}

/// Starts the job on a disk that refuses, and gives the file that the error names, relative to the results; `None` if there was room.
fn refused(job: &Job, out: &Path, reason: &str) -> Option<String> {
    let output = job.command(out).output().unwrap();
    if output.status.success() {
        return None;
    }
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = text.lines().find(|line| line.starts_with("error: ")).unwrap();
    let (_, named) =
        error.split_once(out.to_str().unwrap()).unwrap_or_else(|| panic!("no file in {error:?}"));
    let (file, why) = named.split_once(": ").unwrap_or_else(|| panic!("no reason in {error:?}"));
    assert!(why.starts_with("cannot ") && why.contains(reason), "{error}");
    let left = tree(out);
    assert!(!left.iter().any(|file| file.contains("partial")), "{left:?}");
    Some(file.trim_start_matches('/').to_owned())
}

/// With room, the job ends with the results of one that was never short of it.
fn goes_on(job: &Job, out: &Path, whole: &BTreeMap<String, Vec<u8>>, after: &str) {
    job.run(out).unwrap_or_else(|error| panic!("{} after {after}: {error}", job.name));
    let differs = difference(whole, &results(out));
    assert!(differs.is_empty(), "{} after {after}: {} differ", job.name, differs.join(", "));
}

/// Disks of sizes from nothing to what the results take, and by turns of a page and few more less than that: what is written last is short
/// beside what is written first.
fn campaign(name: &'static str, kinds: usize) {
    let Some(disk) = Tiny::mount("size=4k") else { return };
    let job = Job::new(name);
    let (whole, _) = job.whole();
    let (all, wanted) = (size(&job.place("whole")) / PAGE, u64::from(trials(5)));
    let (mut named, mut full) = (BTreeSet::new(), 0);
    for trial in 0..wanted {
        let pages = if trial % 2 == 0 { all * trial / wanted } else { all.saturating_sub(trial) };
        // A size of 0 would be one without a limit.
        let room = pages.max(1) * PAGE;
        let out = disk.0.path().join(format!("out-{trial}"));
        disk.resize(&room.to_string());
        if let Some(file) = refused(&job, &out, "No space left on device") {
            full += 1;
            named.insert(file.clone());
            disk.resize("100m");
            goes_on(&job, &out, &whole, &format!("a disk of {room} bytes, full at {file}"));
        } else {
            disk.resize("100m");
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{name}: {full} of {wanted} disks were full, and went on to the same bits; full at {named:?}");
    assert!(full > 0 && named.len() >= kinds, "{full} of {wanted} disks were full, at {named:?}");
}

#[test]
fn train() {
    campaign("train", 2);
}

#[test]
fn compare() {
    campaign("compare", 2);
}

#[test]
fn sweep() {
    campaign("sweep", 2);
}

#[test]
fn spectrum() {
    campaign("spectrum", 2);
}

#[test]
fn landscape() {
    campaign("landscape", 2);
}

/// Read-only before anything is there, and in the middle of the work.
#[test]
fn a_read_only_disk_is_named_and_can_be_made_writable() {
    let Some(disk) = Tiny::mount("size=100m") else { return };
    for name in ["train", "compare", "sweep", "spectrum", "landscape"] {
        let job = Job::new(name);
        let (whole, _) = job.whole();
        let out = disk.0.path().join(name);
        disk.remount("ro");
        refused(&job, &out, "Read-only file system").unwrap_or_else(|| panic!("{name} wrote"));
        disk.remount("rw");
        assert!(!out.exists(), "{name}");
        // So much room that the work begins.
        let room = size(&job.place("whole")) / 2;
        disk.resize(&(size(disk.0.path()) + room).to_string());
        let file =
            refused(&job, &out, "No space left on device").unwrap_or_else(|| panic!("{name} had room"));
        disk.remount("ro");
        let read_only =
            refused(&job, &out, "Read-only file system").unwrap_or_else(|| panic!("{name} wrote"));
        disk.remount("rw");
        disk.resize("100m");
        goes_on(&job, &out, &whole, &format!("a full disk at {file}, then a read-only one at {read_only}"));
    }
}
