//! Processes that are killed, interrupted or in each other's way.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{TINY, gnr, run, write};

/// The recipe of a net with BatchNorm and checkpoints every other step: 12 steps an epoch.
const RECIPE: &str = r#"
[data]
subset = { per_class = 20 }
validation = 0.1
augment = "pad-crop-flip"
[model]
name = "resnet8"
[method]
sam = true
gnr = true
[train]
epochs = 6
batch_size = 15
threads = 1
workers = 1
checkpoint_every_steps = 2
log_every_steps = 1
"#;

fn checkpoint(run: &Path, name: &str) -> Vec<u8> {
    fs::read(run.join("checkpoints").join(name)).unwrap()
}

fn start(recipe: &Path, out: &Path) -> Child {
    gnr(&["train", recipe.to_str().unwrap(), "--resume", "--out", out.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn killed_ten_times_and_resumed_is_never_killed() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let whole = home.path().join("whole");
    let before = Instant::now();
    assert_eq!(run(&["train", recipe.to_str().unwrap(), "--out", whole.to_str().unwrap(), "--quiet"]).0, 0);
    let time = before.elapsed();

    let killed = home.path().join("killed");
    // Any moment will do, start-up included. The clock seeds it, so that every run of the test tries other moments.
    let mut random = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let mut kills = 0;
    for _ in 0..10 {
        let mut child = start(&recipe, &killed);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // On average it is an eighth of the whole run: most kills are within the run, and it makes progress.
        let delay = time.mul_f64(f64::from(random) / f64::from(u32::MAX) / 4.0);
        let deadline = Instant::now() + delay.max(Duration::from_millis(1));
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = start(&recipe, &killed).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{kills} of 10 kills hit a living run; an uninterrupted run takes {time:?}");
    assert!(kills > 0);
    for name in ["last.safetensors", "best.safetensors"] {
        assert!(checkpoint(&killed, name) == checkpoint(&whole, name), "{name} differs after {kills} kills");
    }
    let steps = |run: &Path| {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| (line["kind"].clone(), line["step"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(steps(&killed), steps(&whole));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_a_checkpoint_and_says_how_to_go_on() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let whole = home.path().join("whole");
    run(&["train", recipe.to_str().unwrap(), "--out", whole.to_str().unwrap()]);
    for signal in ["-INT", "-TERM"] {
        let out = home.path().join(signal);
        let mut child = start(&recipe, &out);
        // After the first epoch the loop is running.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("epoch")));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        lines.for_each(|line| drop(line.unwrap()));
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("last.safetensors") && stderr.contains("gnr resume"), "{stderr}");

        assert_eq!(run(&["resume", out.to_str().unwrap()]).0, 0);
        assert!(checkpoint(&out, "last.safetensors") == checkpoint(&whole, "last.safetensors"));
    }
}

/// Ctrl-C also ends the `tee` of `2>&1 | tee`, so that both outputs are closed pipes.
#[cfg(unix)]
#[test]
fn an_interrupt_of_a_comparison_whose_readers_have_gone_ends_as_usual() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let out = home.path().join("out");
    let mut command =
        gnr(&["compare", recipe.to_str().unwrap(), "--jobs", "1", "--out", out.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("training: ")));
    drop((lines, child.stderr.take()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_comparison_whose_reader_has_gone_is_done_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("out");
    let small = ["--methods", "base", "--seeds", "1", "--no-sharpness", "--out", out.to_str().unwrap()];
    let mut command = gnr(&[&["compare", recipe.to_str().unwrap()], &small[..]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.join("compare.html").is_file());
}

#[test]
fn the_end_of_standard_input_is_an_interrupt_where_that_was_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let out = home.path().join("out");
    let arguments = ["train", recipe.to_str().unwrap(), "--out", out.to_str().unwrap(), "--stop-at-eof"];
    let mut child =
        gnr(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("epoch")));
    drop(child.stdin.take());
    lines.for_each(|line| drop(line.unwrap()));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("gnr resume"), "{stderr}");
    assert!(!checkpoint(&out, "last.safetensors").is_empty());
}

#[test]
fn a_second_process_is_sent_away() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let out = home.path().join("out");
    let mut child = start(&recipe, &out);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("folder: ")));
    let (code, _, stderr) = run(&["resume", out.to_str().unwrap()]);
    let who = format!("another gnr process ({}) is working in this folder", child.id());
    assert!(code == 1 && stderr.contains(&who), "{stderr}");
    lines.for_each(|line| drop(line.unwrap()));
    assert!(child.wait().unwrap().success());
}

#[test]
fn one_thread_or_two_give_the_same_parameters() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let tensors = |threads: &str| {
        let out = home.path().join(threads);
        let set = format!("train.threads={threads}");
        let code = run(&["train", recipe.to_str().unwrap(), "--out", out.to_str().unwrap(), "--set", &set]).0;
        assert_eq!(code, 0);
        // The header is left out, because it holds the recipe.
        let bytes = checkpoint(&out, "last.safetensors");
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(tensors("1") == tensors("2"));
}
