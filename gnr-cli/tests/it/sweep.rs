//! Tests of `gnr sweep`: the values it chooses, and that it can always continue.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use gnr_train::CheckpointFile;

use crate::support::{TINY, Tiny, gnr, limited, run, tree, write};

/// The recipe of a net with BatchNorm, which takes some tenths of a second a run.
const RECIPE: &str = r#"
[data]
subset = { per_class = 10 }
augment = "pad-crop-flip"
[model]
name = "resnet8"
widths = [4, 8, 8]
[train]
epochs = 4
batch_size = 20
workers = 1
"#;

fn arguments<'a>(recipe: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["sweep", recipe.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let grid = ["--grid", "method.gnr.rho=0.05,0.2", "--grid", "method.gnr.alpha=0.1,1", "--jobs", "2"];
    [&fixed[..], &grid, more].concat()
}

fn start(recipe: &Path, out: &Path) -> Child {
    gnr(&arguments(recipe, out, &[])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The run folders that have begun, by name.
fn runs(out: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(out.join("runs")).into_iter().flatten();
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.path())
    };
    entries.map(entry).collect()
}

/// The number of whole epochs in a run's log.
fn epochs(run: &Path) -> u64 {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count() as u64
}

fn last(run: &Path) -> PathBuf {
    run.join("checkpoints/last.safetensors")
}

/// Waits until some run is in its middle.
fn until_in_the_middle(out: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !runs(out).values().any(|run| epochs(run) >= 2 && !run.join("summary.json").exists()) {
        assert!(Instant::now() < deadline, "no run came to its second epoch in a minute");
        std::thread::yield_now();
    }
}

fn same_results(a: &Path, b: &Path) {
    let (ours, theirs) = (runs(a), runs(b));
    assert!(ours.keys().eq(theirs.keys()) && ours.len() == 4, "{ours:?}");
    for (name, run) in &ours {
        assert!(fs::read(last(run)).unwrap() == fs::read(last(&theirs[name])).unwrap(), "{name}");
    }
    for file in ["sweep.json", "chosen.toml", "heatmap.html"] {
        assert_eq!(fs::read_to_string(a.join(file)).unwrap(), fs::read_to_string(b.join(file)).unwrap());
    }
}

#[test]
fn chooses_by_validation_and_writes_a_recipe_that_trains() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("sweep");
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &["--seeds", "2"]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let found: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("sweep.json")).unwrap()).unwrap();
    let points = found["points"].as_array().unwrap();
    assert_eq!((points.len(), points[0]["val_accuracies"].as_array().unwrap().len()), (4, 2));
    let means: Vec<f64> = points.iter().map(|point| point["mean"].as_f64().unwrap()).collect();
    let best = found["best"].as_u64().unwrap() as usize;
    assert!(means.iter().all(|mean| *mean <= means[best]), "{means:?}");
    // The validation part is a tenth of the 100 images.
    assert_eq!(found["validation_images"], 10);
    assert!(stdout.contains("standard error"), "{stdout}");
    // Both seeds have the same ten images, so that the mean of two seeds is not surer than one.
    let error = (means[best] * (1.0 - means[best]) / 10.0).sqrt();
    assert!((found["standard_error"].as_f64().unwrap() - error).abs() < 1e-12, "{stdout}");

    let chosen = out.join("chosen.toml");
    let (code, text, stderr) = run(&["train", chosen.to_str().unwrap(), "--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    let values = points[best]["values"].as_array().unwrap();
    for (key, value) in ["rho", "alpha"].iter().zip(values) {
        let number: f64 = value.as_str().unwrap().parse().unwrap();
        assert!(text.contains(&format!("{key} = {number:?}")), "{text}");
    }
    assert!(text.contains("validation = 0.0"), "the chosen recipe trains on all images: {text}");

    let page = fs::read_to_string(out.join("heatmap.html")).unwrap();
    assert_eq!(page.matches("<rect").count(), 4);
    assert!(!page.contains("<script") && !page.contains("src="), "self-contained");
}

#[test]
fn a_run_of_a_sweep_is_the_run_that_one_would_train_by_hand() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let (out, alone) = (home.path().join("sweep"), home.path().join("alone"));
    assert_eq!(run(&arguments(&recipe, &out, &["--threads", "1"])).0, 0);
    let (name, folder) = runs(&out).into_iter().find(|(name, _)| name.contains("rho=0.2_alpha=1")).unwrap();
    let set = |key: &str| format!("--set={key}");
    let sets = ["method.gnr.rho=0.2", "method.gnr.alpha=1.0", "data.validation=0.1", "train.seed=0"].map(set);
    let mut words = vec!["train", recipe.to_str().unwrap(), "--out", alone.to_str().unwrap()];
    words.extend(sets.iter().map(String::as_str));
    assert_eq!(run(&words).0, 0);
    assert!(fs::read(last(&folder)).unwrap() == fs::read(last(&alone)).unwrap(), "{name}");
}

#[test]
fn finished_runs_are_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("sweep");
    assert_eq!(run(&arguments(&recipe, &out, &[])).0, 0);
    let stamps = |out: &Path| -> Vec<_> {
        runs(out).values().map(|run| fs::metadata(last(run)).unwrap().modified().unwrap()).collect()
    };
    let before = stamps(&out);
    let (code, stdout, _) = run(&arguments(&recipe, &out, &[]));
    assert!(code == 0 && stdout.contains("4 runs, 4 finished before"), "{stdout}");
    assert_eq!(stamps(&out), before);
}

#[test]
fn kill_9_in_the_middle_loses_at_most_the_current_epoch() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let (whole, killed) = (home.path().join("whole"), home.path().join("killed"));
    assert_eq!(run(&arguments(&recipe, &whole, &[])).0, 0);

    let mut child = start(&recipe, &killed);
    until_in_the_middle(&killed);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut in_the_middle = 0;
    for (name, run) in runs(&killed) {
        let done = epochs(&run);
        let kept = match last(&run).exists() {
            true => CheckpointFile::read(&last(&run)).unwrap().header().unwrap().progress.epoch,
            false => 0,
        };
        // An epoch is logged just before its checkpoint is written.
        assert!(kept + 1 >= done, "{name}: {done} epochs done, {kept} in the checkpoint");
        in_the_middle += u32::from(!run.join("summary.json").exists());
    }
    assert!(in_the_middle > 0);

    let (code, _, stderr) = run(&arguments(&recipe, &killed, &[]));
    assert_eq!(code, 0, "{stderr}");
    same_results(&killed, &whole);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_all_runs_with_checkpoints() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let (whole, out) = (home.path().join("whole"), home.path().join("out"));
    assert_eq!(run(&arguments(&recipe, &whole, &[])).0, 0);
    let child = start(&recipe, &out);
    until_in_the_middle(&out);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("the same command continues"), "{stderr}");
    assert!(!out.join("sweep.json").exists());
    assert_eq!(run(&arguments(&recipe, &out, &[])).0, 0);
    same_results(&out, &whole);
}

#[test]
fn two_sweeps_on_one_folder_exclude_each_other() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", RECIPE);
    let out = home.path().join("out");
    let mut child = start(&recipe, &out);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("[  1/4]")));
    let (code, _, stderr) = run(&arguments(&recipe, &out, &[]));
    let who = format!("another gnr process (process {}) is working in this folder", child.id());
    assert!(code == 1 && stderr.contains(&who), "{stderr}");
    lines.for_each(|line| drop(line.unwrap()));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_combination_that_fails_is_an_empty_cell_and_the_others_go_on() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("out");
    let words = [
        "sweep",
        recipe.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--grid=optimizer.lr=0.1,1e29,1e30",
        "--grid=method.gnr=false",
    ];
    let (code, stdout, stderr) = run(&words);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("FAILED: training diverged") && stdout.contains("failed\n"), "{stdout}");
    assert!(stdout.contains("chosen: optimizer.lr=0.1 method.gnr=false"), "{stdout}");
    let page = fs::read_to_string(out.join("heatmap.html")).unwrap();
    assert_eq!(page.matches("stroke-dasharray").count(), 2);
    assert!(
        stdout.contains(". optimizer.lr=0.1 is the smallest value tried: a smaller one may be better."),
        "{stdout}"
    );
}

#[test]
fn a_full_disk_stops_the_sweep_and_room_lets_it_go_on() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let whole = home.path().join("whole");
    let set = ["--set=model.widths=[90]"];
    assert_eq!(run(&arguments(&recipe, &whole, &set)).0, 0);
    let goes_on = |out: &Path, mut refused: Command, reason: &str, make_room: &dyn Fn()| {
        let output = refused.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(reason), "{stderr}");
        assert!(!tree(out).iter().any(|file| file.contains("partial")), "{:?}", tree(out));
        make_room();
        let (code, _, stderr) = run(&arguments(&recipe, out, &set));
        assert_eq!(code, 0, "{stderr}");
        same_results(out, &whole);
    };
    if cfg!(unix) {
        // A checkpoint of 6,760 parameters with their momentum takes 54 KB.
        let out = home.path().join("out");
        goes_on(&out, limited(&gnr(&arguments(&recipe, &out, &set)), 50), "File too large", &|| ());
    }
    // 150 KiB hold two or three runs, not eight checkpoints.
    let Some(disk) = Tiny::mount("size=150k") else { return };
    let out = disk.0.path().join("out");
    goes_on(&out, gnr(&arguments(&recipe, &out, &set)), "No space left", &|| disk.resize("10m"));
}

#[test]
fn what_cannot_be_swept_is_said_before_any_training() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("out");
    let recipe = recipe.to_str().unwrap();
    for (grid, expect) in [
        ("method.gnr.rho=0.1,-1", "must be positive"),
        ("method.gnr.rh0=0.1", "did you mean `rho`"),
        ("method.gnr.rho", "expected section.key=VALUE"),
        ("train.seed=1,2", "train.seed cannot be swept"),
        ("data.validation=0.0,0.1", "are one recipe"),
    ] {
        let (code, _, stderr) = run(&["sweep", recipe, "--out", out.to_str().unwrap(), "--grid", grid]);
        assert!(code > 0 && stderr.contains(expect), "{grid}: {stderr}");
        assert!(!out.exists());
    }
    let (code, stdout, _) = run(&["sweep", recipe, "--out", out.to_str().unwrap(), "--dry-run"]);
    assert!(code == 0 && stdout.contains("78 runs") && stdout.contains("nothing was trained"), "{stdout}");
    let part = ["sweep", recipe, "--out", out.to_str().unwrap(), "--dry-run", "--shard", "1/3"];
    let (_, stdout, _) = run(&part);
    assert!(stdout.contains("26 of 78 runs") && stdout.matches("to train").count() == 26, "{stdout}");
    let (code, _, stderr) = run(&["sweep", recipe, "--out", out.to_str().unwrap(), "--set", "train.seed=3"]);
    assert!(code == 1 && stderr.contains("--set train.seed=3: every"), "{stderr}");
}

/// Of a run that averages its weights the average is judged: the decay does not change the weights themselves.
#[test]
fn averaged_weights_are_what_is_chosen_by() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("out");
    // A weight decay of 3 ends with weights that tell no image from another; the slow average still does.
    let words = [
        "sweep",
        recipe.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--method=ema",
        "--grid=train.average.decay=0.5,0.999",
        "--grid=optimizer.weight_decay=0.0,3.0",
        "--set=optimizer.lr=0.3",
        "--set=optimizer.momentum=0.0",
        "--set=schedule.name=constant",
        "--set=train.epochs=12",
        "--set=data.validation=0.2",
    ];
    let (code, stdout, stderr) = run(&words);
    assert_eq!(code, 0, "{stderr}");
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let found = read(&out.join("sweep.json"));
    let mut differ = 0;
    for point in found["points"].as_array().unwrap() {
        let value = |at: usize| point["values"][at].as_str().unwrap().parse::<f64>().unwrap();
        let name = format!("decay={:?}_weight_decay={:?}_", value(0), value(1));
        let run = runs(&out).into_iter().find(|(run, _)| run.starts_with(&name));
        let folder = run.unwrap_or_else(|| panic!("{name} among {:?}", runs(&out).keys())).1;
        let summary = read(&folder.join("summary.json"));
        assert_eq!(point["val_accuracies"][0], summary["average_val_accuracy"], "{name}");
        assert_eq!(point["test_accuracies"][0], summary["average_test_accuracy"], "{name}");
        let told = format!("validation {:.2} %", 100.0 * summary["average_val_accuracy"].as_f64().unwrap());
        let name = name.trim_end_matches('_').replace("_weight", " optimizer.weight");
        let line = stdout.lines().find(|line| line.contains(&format!("{name} seed=0: ")));
        assert!(line.is_some_and(|line| line.contains(&told)), "{told} of {name} in {stdout}");
        differ += u32::from(summary["average_val_accuracy"] != summary["val_accuracy"]);
    }
    assert!(differ > 0, "the average is another network somewhere");
    assert!(stdout.contains("1 collapsed to one output for all images"), "{stdout}");
}

/// A method given by name brings the keys to search from the registry; a grid of the user's own replaces them.
#[test]
fn a_method_brings_what_is_searched() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "net.toml", RECIPE);
    let names = |more: &[&str]| {
        let (code, stdout, stderr) = run(&[&["sweep", recipe.to_str().unwrap(), "--dry-run"], more].concat());
        assert_eq!(code, 0, "{stdout}{stderr}");
        let runs = stdout.lines().filter_map(|line| line.strip_prefix("to train  "));
        runs.map(|run| run.split("  ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let asam = names(&["--method", "asam"]);
    let expected = [0.25, 0.5, 1.0, 2.0, 4.0].map(|rho: f64| format!("method.asam.rho={rho:?} seed=0"));
    assert_eq!(asam, expected);
    assert_eq!(names(&["--method", "gsam", "--grid", "method.gsam.alpha=0.1,0.2"]).len(), 2);
    // The recipe's averaging is left out of a known method, but not where the grid varies it.
    let averaged =
        ["--set=train.average.kind=ema", "--grid", "train.average.decay=0.5,0.9", "--method", "sam"];
    assert_eq!(names(&averaged).len(), 2);
    let lion = names(&["--method", "lion", "--set=optimizer.momentum=0.5"]);
    assert!(lion.len() == 25 && lion[0].starts_with("optimizer.lr="), "{lion:?}");
    let (code, _, stderr) = run(&["sweep", "--method", "asma", "--dry-run"]);
    assert!(code == 2 && stderr.contains("no method is called `asma`"), "{stderr}");
}
