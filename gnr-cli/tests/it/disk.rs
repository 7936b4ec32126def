//! Full or read-only disks and limits of file sizes, wherever a command meets them. The error names the file and the
//! reason, and no incomplete file is taken for a complete one. With room, the command continues to equal bits.
//! `GNR_KILLS=50` tries fifty sizes.
#![cfg(unix)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    jobs::{Job, difference, results, told, trials},
    support::{Tiny, limited, tree},
};

const PAGE: u64 = 4096;

/// Number of bytes that the files of a folder take, in whole pages.
fn size(folder: &Path) -> u64 {
    let pages = |file: &String| folder.join(file).metadata().unwrap().len().div_ceil(PAGE);
    tree(folder).iter().map(pages).sum::<u64>() * PAGE
}

/// Starts a job's command where writing is refused. Returns the file that the error names, relative to the results;
/// `None` if there was room.
fn refused(mut command: Command, out: &Path, reason: &str) -> Option<String> {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
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

/// With room, the job must end with the results of one that was never short of it.
fn goes_on(job: &Job, out: &Path, whole: &BTreeMap<String, Vec<u8>>, after: &str) {
    job.run(out).unwrap_or_else(|error| panic!("{} after {after}: {error}", job.name));
    let differs = difference(whole, &results(out));
    assert!(differs.is_empty(), "{} after {after}: {} differ", job.name, differs.join(", "));
}

fn campaign(name: &'static str, kinds: usize) {
    let job = Job::new(name);
    let (whole, _) = job.whole();
    limits(&job, &whole);
    rooms(&job, &whole, kinds);
}

/// Limits of file sizes just below those of the results, so that at least one file is refused.
fn limits(job: &Job, whole: &BTreeMap<String, Vec<u8>>) {
    let folder = job.place("whole");
    let length = |file: &String| folder.join(file).metadata().unwrap().len();
    let lengths: BTreeSet<u64> = tree(&folder).iter().map(length).filter(|length| *length > 0).collect();
    let lengths: Vec<u64> = lengths.into_iter().collect();
    let (wanted, mut named) = (trials(5) as usize, BTreeSet::new());
    for trial in 0..wanted {
        // Some shells count blocks of 1024 bytes.
        let blocks = (lengths[trial * lengths.len() / wanted] - 1) / 1024;
        let out = job.place(&format!("limit-{trial}"));
        let file = refused(limited(&job.command(&out), blocks), &out, "File too large");
        let file = file.unwrap_or_else(|| panic!("{} wrote more than {blocks} blocks", job.name));
        goes_on(job, &out, whole, &format!("files limited to {blocks} blocks, which {file} exceeded"));
        named.insert(file);
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{}: {wanted} limits of sizes, refused: {named:?}", job.name);
}

/// Disk sizes, where mounting is permitted, from nothing to what the results take, and by turns a few pages less. Both
/// the files written first and those written last then lack room.
fn rooms(job: &Job, whole: &BTreeMap<String, Vec<u8>>, kinds: usize) {
    let Some(disk) = Tiny::mount("size=4k") else { return };
    let (all, wanted) = (size(&job.place("whole")) / PAGE, u64::from(trials(5)));
    let (mut named, mut full) = (BTreeSet::new(), 0);
    for trial in 0..wanted {
        let pages = if trial % 2 == 0 { all * trial / wanted } else { all.saturating_sub(trial) };
        // A size of 0 would mean no limit.
        let room = pages.max(1) * PAGE;
        let out = disk.0.path().join(format!("out-{trial}"));
        disk.resize(&room.to_string());
        if let Some(file) = refused(job.command(&out), &out, "No space left on device") {
            full += 1;
            named.insert(file.clone());
            disk.resize("100m");
            goes_on(job, &out, whole, &format!("a disk of {room} bytes, full at {file}"));
        } else {
            disk.resize("100m");
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
    let name = job.name;
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

/// A place in which no folder can be made: it is read-only, or its kernel refuses.
#[cfg(target_os = "linux")]
const REFUSING: &str = "/sys/gnr-test";

/// A disk that is read-only before anything is there or, where mounting is permitted, in the middle of the work.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_disk_is_named_and_can_be_made_writable() {
    for name in ["train", "compare", "sweep", "spectrum", "landscape"] {
        let out = Path::new(REFUSING);
        refused(Job::new(name).command(out), out, "").unwrap_or_else(|| panic!("{name} wrote"));
    }
    let Some(disk) = Tiny::mount("size=100m") else { return };
    for name in ["train", "compare", "sweep", "spectrum", "landscape"] {
        let job = Job::new(name);
        let (whole, _) = job.whole();
        let out = disk.0.path().join(name);
        disk.remount("ro");
        refused(job.command(&out), &out, "Read-only file system").unwrap_or_else(|| panic!("{name} wrote"));
        disk.remount("rw");
        assert!(!out.exists(), "{name}");
        // There is enough room for the work to begin.
        let room = size(&job.place("whole")) / 2;
        disk.resize(&(size(disk.0.path()) + room).to_string());
        let file = refused(job.command(&out), &out, "No space left on device")
            .unwrap_or_else(|| panic!("{name} had room"));
        disk.remount("ro");
        let read_only = refused(job.command(&out), &out, "Read-only file system")
            .unwrap_or_else(|| panic!("{name} wrote"));
        disk.remount("rw");
        disk.resize("100m");
        goes_on(&job, &out, &whole, &format!("a full disk at {file}, then a read-only one at {read_only}"));
    }
}
