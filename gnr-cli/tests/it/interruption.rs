//! `gnr reproduce` that is interrupted, killed or runs beside another one: no run or measurement is lost.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::{
    reproduce::Bench,
    support::{Tiny, limited},
};

/// Arguments for one run of some seconds.
const LONG: [&str; 9] =
    ["table1", "--only", "/mlp-w64/sgd/", "--seeds", "1", "--epochs", "300", "--jobs", "1"];

/// Waits until another process has done something.
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

    /// Waits for the end of the process and returns its output.
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

/// Starts a process in a group of its own, so that a signal reaches it alone.
fn start(bench: &Bench, more: &[&str]) -> Started {
    use std::os::unix::process::CommandExt;
    let mut command = bench.command(more);
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Started(Some(child))
}

fn epochs(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// Starts the long run and waits until it is in its middle.
fn start_long(bench: &Bench) -> Started {
    let run = bench.run(&LONG, "digits/mlp-w64/sgd/0");
    let child = start(bench, &LONG);
    // The first checkpoint comes after ten epochs.
    until("some epochs", || epochs(&run) > 12);
    child
}

fn signal(name: &str, child: &Started) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The run has begun and is not finished. The command must end it with the bits of a run that never stopped.
fn goes_on_afterwards(bench: &Bench) {
    let run = bench.run(&LONG, "digits/mlp-w64/sgd/0");
    assert!(run.join("checkpoints/last.safetensors").is_file() && !run.join("summary.json").exists());
    let (ok, text) = bench.reproduce(&LONG);
    assert!(ok && text.contains("0 finished before, 1 to train"), "{text}");
    let whole = bench.path("whole");
    assert!(bench.command_in(&whole, &LONG).output().unwrap().status.success());
    let last = |out: &Path| {
        let folder = out.join("runs").join(run.file_name().unwrap());
        fs::read(folder.join("checkpoints/last.safetensors")).unwrap()
    };
    assert!(last(&whole) == last(&bench.out()));
}

#[test]
fn an_interrupt_is_passed_on_and_what_it_leaves_is_told() {
    for name in ["-INT", "-TERM"] {
        let bench = Bench::new();
        let child = start_long(&bench);
        signal(name, &child);
        let output = child.output();
        let text = told(&output);
        assert_eq!(output.status.code(), Some(130), "{name}: {text}");
        assert!(text.contains("stopped with a checkpoint: digits/mlp-w64/sgd/0"), "{text}");
        assert!(text.contains("the same command continues") && !text.contains("FAILED"), "{text}");
        goes_on_afterwards(&bench);
    }
}

#[test]
fn what_a_kill_leaves_goes_on() {
    let bench = Bench::new();
    let mut child = start_long(&bench);
    child.child().kill().unwrap();
    child.child().wait().unwrap();
    goes_on_afterwards(&bench);
}

#[test]
fn an_interrupted_measurement_goes_on() {
    let bench = Bench::new();
    let figure = ["figure1", "--seeds", "1"];
    let mut child = start(&bench, &figure);
    let mut lines = BufReader::new(child.child().stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("measuring")));
    signal("-TERM", &child);
    lines.for_each(|line| drop(line.unwrap()));
    assert_eq!(child.child().wait().unwrap().code(), Some(130));
    assert!(!bench.out().join("figure1.md").exists());
    let (ok, text) = bench.reproduce(&figure);
    assert!(ok && text.contains("measuring") && text.contains("figure1.md"), "{text}");
}

#[test]
fn two_programs_on_one_folder_exclude_each_other() {
    let bench = Bench::new();
    let child = start_long(&bench);
    let (ok, text) = bench.reproduce(&[]);
    let who = format!("another gnr process (process {}) is working in this folder", child.id());
    assert!(!ok && text.contains(&who), "{text}");
    assert_eq!(bench.begun(), 1, "the second started nothing");
    let (ok, dry) = bench.reproduce(&["--dry-run"]);
    assert!(ok, "looking is allowed: {dry}");
    signal("-INT", &child);
    child.output();
    goes_on_afterwards(&bench);
}

#[test]
fn a_run_that_another_process_trains_is_waited_for() {
    let bench = Bench::new();
    let folder = bench.run(&["--seeds", "1"], "digits/mlp-w64/sam+gnr-exact/0");
    fs::create_dir_all(&folder).unwrap();
    let lock = folder.join("run.lock");
    fs::write(&lock, "71\n").unwrap();
    let held = fs::File::options().append(true).open(&lock).unwrap();
    held.lock().unwrap();

    let mut child = start(&bench, &["--seeds", "1", "--jobs", "1"]);
    let mut lines = BufReader::new(child.child().stdout.take().unwrap()).lines();
    let waiting = lines.find(|line| line.as_ref().unwrap().starts_with("waiting")).unwrap().unwrap();
    assert!(waiting.starts_with("waiting for digits/mlp-w64/sam+gnr-exact/0: "), "{waiting}");
    assert!(waiting.contains("another gnr process (71) is working in this folder"), "{waiting}");
    assert_eq!(bench.begun(), 1);
    drop(held);
    lines.for_each(|line| drop(line.unwrap()));
    assert!(child.child().wait().unwrap().success());
    assert_eq!(bench.begun(), 6);
}

#[test]
fn a_full_disk_stops_everything_and_room_lets_it_go_on() {
    let bench = Bench::new();
    let told_by = |mut command: Command| {
        let output = command.output().unwrap();
        (output.status.success(), told(&output))
    };
    let refused = |command: Command, reason: &str| {
        let (ok, text) = told_by(command);
        assert!(!ok && text.contains("the disk refuses to be written") && text.contains(reason), "{text}");
        assert!(!text.contains("18/18"), "nothing more was started: {text}");
    };
    // The checkpoints of a run take some hundred kilobytes.
    let out = bench.path("limited");
    refused(limited(&bench.command_in(&out, &["--jobs", "1"]), 50), "File too large");
    let Some(disk) = Tiny::mount("size=600k") else { return };
    let command = || bench.command_in(disk.0.path(), &["--jobs", "1"]);
    refused(command(), "No space left on device");
    disk.resize("100m");
    let (ok, text) = told_by(command());
    assert!(ok && !text.contains(" 0 finished before"), "what was finished is not repeated: {text}");
}
