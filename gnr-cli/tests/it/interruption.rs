//! `reproduce` while it is interrupted, killed or in another's way: no run or measurement goes on without it, and none is lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::reproduce::Bench;
use crate::told;

/// Waits for something that another process does.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::yield_now();
    }
}

/// A process that does not outlive its test, even one that fails.
struct Started(Option<Child>);

impl Started {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Waits for its end.
    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process in a group of its own, so that a signal to it is one to it alone.
fn start(bench: &Bench, more: &[&str]) -> Started {
    use std::os::unix::process::CommandExt;
    let mut command = bench.command(more);
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Started(Some(child))
}

/// Starts it on runs that never end, and waits until one is running.
fn start_endless(bench: &Bench) -> Started {
    fs::write(bench.path("endless"), "").unwrap();
    let child = start(bench, &["--jobs", "1"]);
    until("a run", || bench.path("running").is_file());
    child
}

fn signal(name: &str, child: &Started) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// How many runs stopped with a checkpoint.
fn checkpoints(bench: &Bench) -> usize {
    fs::read_to_string(bench.path("checkpoints")).map_or(0, |text| text.lines().count())
}

fn goes_on_afterwards(bench: &Bench) {
    fs::remove_file(bench.path("endless")).unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok && text.contains("0 finished before, 18 to train"), "{text}");
}

#[test]
fn an_interrupt_is_passed_on_and_waited_for() {
    for name in ["-INT", "-TERM"] {
        let bench = Bench::new();
        let child = start_endless(&bench);
        signal(name, &child);
        let Output { status, .. } = child.output();
        // Whoever returns first, the run had already ended when the program did.
        assert_eq!(
            checkpoints(&bench),
            1,
            "{name}: the run stopped with its checkpoint before the program ended"
        );
        assert_eq!(status.code(), Some(130), "{name}");
        assert_eq!(bench.calls(), 1, "{name}: nothing more was started");
        goes_on_afterwards(&bench);
    }
}

#[test]
fn what_an_interrupt_leaves_is_told() {
    let bench = Bench::new();
    let child = start_endless(&bench);
    signal("-INT", &child);
    let text = told(&child.output());
    assert!(text.contains("stopped with a checkpoint: digits/mlp-w64/sam+gnr-exact/0"), "{text}");
    assert!(text.contains("the same command continues"), "{text}");
    assert!(!text.contains("FAILED"), "{text}");
}

#[test]
fn runs_end_when_the_program_is_killed() {
    let bench = Bench::new();
    let mut child = start_endless(&bench);
    child.child().kill().unwrap();
    child.child().wait().unwrap();
    until("the run to end", || checkpoints(&bench) == 1);
    goes_on_afterwards(&bench);
}

#[test]
fn a_measurement_ends_with_the_program_however_that_ends() {
    for name in ["-TERM", "-KILL"] {
        let bench = Bench::new();
        let mut child = start(&bench, &["figure1"]);
        until("a measurement", || bench.path("running").is_file());
        signal(name, &child);
        let status = child.child().wait().unwrap();
        until("the measurement to end", || checkpoints(&bench) == 1);
        assert_eq!(status.code(), (name == "-TERM").then_some(130));
    }
}

#[test]
fn two_programs_on_one_folder_exclude_each_other() {
    let bench = Bench::new();
    let child = start_endless(&bench);
    let (ok, text) = bench.reproduce(&[]);
    let who = format!("another `cargo xtask reproduce` (process {}) is working in this folder", child.id());
    assert!(!ok && text.contains(&who), "{text}");
    assert_eq!(bench.calls(), 1, "the second started nothing");
    let (ok, dry) = bench.reproduce(&["--dry-run"]);
    assert!(ok, "looking is allowed: {dry}");
    signal("-INT", &child);
    child.output();
    goes_on_afterwards(&bench);
}

#[test]
fn a_run_that_another_process_trains_is_waited_for() {
    let bench = Bench::new();
    let (_, dry) = bench.reproduce(&["--dry-run", "--seeds", "1"]);
    let folder = dry
        .lines()
        .find(|line| line.contains("mlp-w64/sam+gnr-exact/0"))
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap();
    fs::create_dir_all(folder).unwrap();
    let lock = format!("{folder}/run.lock");
    fs::write(&lock, "71\n").unwrap();
    let held = fs::File::options().append(true).open(&lock).unwrap();
    held.lock().unwrap();

    let mut child = start(&bench, &["--seeds", "1", "--jobs", "1"]);
    let mut lines = BufReader::new(child.child().stdout.take().unwrap()).lines();
    let waiting = lines.find(|line| line.as_ref().unwrap().starts_with("waiting")).unwrap().unwrap();
    assert!(waiting.contains("process 71 is training digits/mlp-w64/sam+gnr-exact/0"), "{waiting}");
    assert_eq!(bench.calls(), 0);
    drop(held);
    lines.for_each(|line| drop(line.unwrap()));
    assert!(child.child().wait().unwrap().success());
    assert_eq!(bench.calls(), 6);
}

/// A file system of a few pages, unmounted in the end.
struct Tiny(std::path::PathBuf);

impl Tiny {
    #[allow(clippy::print_stdout)]
    fn mount(at: std::path::PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let option = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &option, "xtask-test"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => {
                println!("skipped: mounting a tmpfs is not permitted here");
                None
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_stops_everything_and_room_lets_it_go_on() {
    let bench = Bench::new();
    // The stub's runs take some kilobytes each.
    let Some(disk) = Tiny::mount(bench.out(), "96k") else { return };
    fs::write(bench.path("heavy"), "").unwrap();
    let (ok, text) = bench.reproduce(&["--jobs", "1"]);
    assert!(!ok && text.contains("the disk is full") && text.contains("No space left on device"), "{text}");
    let calls = bench.calls();
    assert!(calls < 18, "nothing more was started: {calls}");
    let remount = Command::new("mount").args(["-o", "remount,size=10m"]).arg(&disk.0).output().unwrap();
    assert!(remount.status.success());
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok, "{text}");
    assert_eq!(bench.calls(), calls + 18 - (calls - 1), "what was finished is not repeated");
}
