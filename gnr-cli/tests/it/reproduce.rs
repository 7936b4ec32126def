//! `reproduce table1` with a stub in place of `gnr`: what is started, what is not repeated, what the report says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{told, xtask};

/// Plays `gnr train RECIPE --out DIR --resume --quiet --stop-at-eof`: notes the call, fails where `broken` names the run,
/// leaves a run unfinished where `stops` does, trains until its input ends while there is
/// `endless`, writes much while there is `heavy`, and else writes a run whose accuracy follows from the method and the seed.
/// Plays `gnr minima` by measuring until its input ends.
const STUB: &str = r#"#!/bin/sh
here=$(dirname "$0")
[ "$1" = bench ] && { echo '{"model":"mlp","method":"gradient","median_ms":2.0,"min_ms":1.0,"rounds":2}'; exit 0; }
[ "$1" = plot ] && exit 0
if [ "$1" = minima ]; then
  case " $* " in *" --stop-at-eof "*) ;; *) echo "unexpected: $*" >&2; exit 64 ;; esac
  echo $$ > "$here/pid"; mv "$here/pid" "$here/running"
  cat > /dev/null; echo minima >> "$here/checkpoints"; exit 130
fi
[ "$1 $3 $5 $6 $7" = "train --out --resume --quiet --stop-at-eof" ] || { echo "unexpected: $*" >&2; exit 64; }
recipe=$2 out=$4
echo "$out" >> "$here/calls"
mkdir -p "$out"
if [ -f "$here/broken" ] && echo "$out" | grep -q -f "$here/broken"; then echo "loss is NaN at step 7" >&2; exit 3; fi
if [ -f "$here/stops" ] && echo "$out" | grep -q -f "$here/stops"; then echo '{"kind":"epoch","epo' > "$out/metrics.jsonl"; exit 0; fi
if [ -f "$here/endless" ]; then
  # Whole before it is seen: the test waits for the file.
  echo $$ > "$here/pid"; mv "$here/pid" "$here/running"
  cat > /dev/null; echo "$out" >> "$here/checkpoints"; exit 130
fi
if [ -f "$here/heavy" ]; then head -c 20000 /dev/zero > "$out/weights" || exit 1; fi
seed=$(sed -n 's/^seed = //p' "$recipe")
tenths=$((900 + seed))
grep -q '^hvp = "exact"' "$recipe" && tenths=$((tenths + 20 + seed))
cp "$recipe" "$out/recipe.toml"
{
  echo '{"kind":"epoch","epoch":1,"step":22,"train_loss":2.0,"test_accuracy":0.5,"test_loss":2.1,"seconds":0.2}'
  echo "{\"kind\":\"epoch\",\"epoch\":2,\"step\":44,\"train_loss\":0.4,\"test_accuracy\":0.$tenths,\"test_loss\":0.5,\"seconds\":0.2}"
  printf '{"kind":"epoch","epoch":3,"tr'
} > "$out/metrics.jsonl"
echo "{\"finished\":true,\"test_accuracy\":0.$tenths,\"test_loss\":0.5,\"seconds\":0.4,\"steps\":44,\"gradient_evaluations\":88,\"products\":11}" > "$out/summary.json"
"#;

pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stub = folder.path().join("gnr");
        fs::write(&stub, STUB).unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// `reproduce table1` of the MLP with two runs at a time; whether it succeeded and what it told.
    pub(crate) fn reproduce(&self, more: &[&str]) -> (bool, String) {
        let output = self.command(more).output().unwrap();
        (output.status.success(), told(&output))
    }

    /// The same, to be started by the test.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("reproduce");
        if !more.iter().any(|word| word.starts_with("table") || word.starts_with("figure") || *word == "all")
        {
            command.args(["table1", "--only", "/mlp-w64/"]);
        }
        if !more.contains(&"--jobs") {
            command.args(["--jobs", "2"]);
        }
        command
            .arg("--gnr")
            .arg(self.path("gnr"))
            .arg("--out")
            .arg(self.out())
            .args(more)
            .env_remove("GNR_PROGRAM");
        command
    }

    pub(crate) fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls")).map_or(0, |text| text.lines().count())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap()
    }
}

#[test]
fn trains_each_case_once_and_reports() {
    let bench = Bench::new();
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok, "{text}");
    assert_eq!(bench.calls(), 18, "six methods, three seeds");

    let (ok, again) = bench.reproduce(&[]);
    assert!(ok && again.contains("18 finished before, 0 to train"), "{again}");
    assert_eq!(bench.calls(), 18, "finished runs are not repeated");

    let (ok, more) = bench.reproduce(&["--seeds", "4"]);
    assert!(ok && more.contains("18 finished before, 6 to train"), "{more}");
}

#[test]
fn the_report_says_what_the_runs_say() {
    let bench = Bench::new();
    let (ok, terminal) = bench.reproduce(&[]);
    assert!(ok, "{terminal}");
    let markdown = bench.read("table1.md");
    // SGD: 90.0, 90.1, 90.2. GNR exact: 92.0, 92.2, 92.4; paired 2.0, 2.1, 2.2, so t(2)·0.1/√3 = 0.25 beside 2.10.
    for expect in [
        "| SGD | 90.10 ± 0.10 |",
        "| SGD + GNR exact | 92.20 ± 0.20 |",
        "| SGD + GNR finite diff. | 90.10 ± 0.10 |",
        "+2.10 ± 0.10 | [+1.85, +2.35] | 3 | better",
        "+0.00 ± 0.00 | [+0.00, +0.00] | 3 | nothing can be said",
        "says nothing about the paper's numbers",
        "0.200 (1.0 ×)",
        "--scale small",
        "seeds: 0, 1, 2",
    ] {
        assert!(markdown.contains(expect), "{expect}\n{markdown}");
    }
    assert!(
        terminal.contains("90.10 ± 0.10") && terminal.contains("nothing about the paper's numbers"),
        "{terminal}"
    );

    let html = bench.read("table1.html");
    assert_eq!(html.matches("<svg").count(), 2, "accuracy and loss of one net");
    for expect in
        ["prefers-color-scheme:dark", "name=\"viewport\"", "92.20 ± 0.20", "currentColor", "polygon"]
    {
        assert!(html.contains(expect), "{expect}");
    }
    for outside in ["<script", "src=", "href=", "@import", "#000000"] {
        assert!(!html.contains(outside), "self-contained and readable in the dark: {outside}");
    }
}

#[test]
fn a_failed_run_is_told_and_the_others_go_on() {
    let bench = Bench::new();
    fs::write(bench.path("broken"), "mlp-w64-sam-0-\n").unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(!ok && text.contains("1 of 18 runs failed"), "{text}");
    assert!(text.contains("loss is NaN at step 7") && text.contains(".log"), "{text}");
    assert_eq!(bench.calls(), 18);
    let markdown = bench.read("table1.md");
    assert!(markdown.contains("(2 of 3 seeds)") && markdown.contains("loss is NaN"), "{markdown}");

    fs::remove_file(bench.path("broken")).unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok && text.contains("17 finished before, 1 to train"), "{text}");
}

#[test]
fn an_unfinished_run_is_continued() {
    let bench = Bench::new();
    fs::write(bench.path("stops"), "mlp-w64-sgd-1-\n").unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(!ok && text.contains("ended without a finished summary.json"), "{text}");
    fs::remove_file(bench.path("stops")).unwrap();
    let (_, dry) = bench.reproduce(&["--dry-run"]);
    assert!(dry.contains("to continue") && dry.contains("1 of 18 runs to train"), "{dry}");
    // 20 epochs of 23 steps.
    assert!(dry.contains("460 gradients") && dry.contains("about "), "{dry}");
    assert_eq!(bench.calls(), 18, "a dry run starts nothing");
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok, "{text}");
    assert_eq!(bench.calls(), 19);
}

#[test]
fn every_table_is_reported_from_the_same_runs() {
    let bench = Bench::new();
    // Table 1: 3 nets × 6 methods; Table 2: 6; Table 3: 2 × 6 and 2 pretrainings; Table 4: 22, of which 6 are Table 1's.
    let mut calls = 0;
    for (table, runs) in [("table1", 18), ("table2", 6), ("table3", 14), ("table4", 16)] {
        let (ok, text) = bench.reproduce(&[table, "--seeds", "1"]);
        assert!(ok, "{text}");
        calls += runs;
        assert_eq!(bench.calls(), calls, "{text}");
    }
    for (table, expect) in [
        ("table1.md", "GNR improves SAM performance by 1.18%"),
        ("table2.md", "Top-5 $92.59"),
        ("table3.md", "AdamW"),
        ("table4.md", "| SGD + GNR exact, 1/20 of steps |"),
    ] {
        let markdown = bench.read(table);
        assert!(markdown.contains(expect), "{expect}\n{markdown}");
    }
}

#[test]
fn table4_tells_the_speed_beside_the_base() {
    let bench = Bench::new();
    let (ok, text) = bench.reproduce(&["table4", "--seeds", "2"]);
    assert!(ok, "{text}");
    let markdown = bench.read("table4.md");
    assert!(markdown.contains("0.200 (1.0 ×; 100 %)"), "{markdown}");
    assert!(markdown.contains("less than 25%"), "{markdown}");
    assert!(markdown.contains("| 2.00 + 0.25 |"), "work as counted: {markdown}");
}

#[test]
fn parts_on_one_folder_train_everything_once_and_the_whole_reports() {
    let bench = Bench::new();
    for part in ["1/3", "2/3", "3/3"] {
        let (ok, text) = bench.reproduce(&["--shard", part]);
        assert!(ok && text.contains("part"), "{text}");
    }
    assert_eq!(bench.calls(), 18);
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok && text.contains("18 finished before, 0 to train"), "{text}");
}

#[test]
fn folders_of_parts_are_merged_and_conflicts_are_found() {
    let (one, two, whole) = (Bench::new(), Bench::new(), Bench::new());
    assert!(one.reproduce(&["--shard", "1/2"]).0 && two.reproduce(&["--shard", "2/2"]).0);
    let (a, b) = (one.out(), two.out());
    let merge = ["--merge", a.to_str().unwrap(), b.to_str().unwrap()];
    let (ok, text) = whole.reproduce(&merge[..2]);
    assert!(ok && text.contains("Incomplete: 9 of 18 runs"), "{text}");
    let (ok, text) = whole.reproduce(&merge);
    assert!(ok && text.contains("9 runs copied, 9 were here already"), "{text}");
    assert!(!whole.read("table1.md").contains("Incomplete"));
    assert_eq!(whole.calls(), 0, "nothing was trained");

    let run =
        fs::read_dir(b.join("runs")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let summary = run.unwrap().join("summary.json");
    fs::write(&summary, "{\"finished\":true,\"test_accuracy\":0.123}").unwrap();
    let (ok, text) = whole.reproduce(&merge);
    assert!(!ok && text.contains("finished twice with different results"), "{text}");
}

#[test]
fn missing_data_is_an_error_before_any_training() {
    let bench = Bench::new();
    let empty = bench.path("data");
    fs::create_dir(&empty).unwrap();
    let (gnr, out) = (bench.path("gnr"), bench.out());
    let output = xtask(&[
        "reproduce",
        "table1",
        "--scale",
        "paper",
        "--data",
        empty.to_str().unwrap(),
        "--gnr",
        gnr.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    let text = told(&output);
    assert!(!output.status.success() && text.contains("curl -fL https://www.cs.toronto.edu"), "{text}");
    assert_eq!(bench.calls(), 0);
    assert!(!Path::new(&out).exists());
}

#[test]
fn what_is_not_there_is_said() {
    for what in ["figure4", "table9"] {
        let output = xtask(&["reproduce", what]);
        let expect = format!("nothing to reproduce is called `{what}`; available: table1");
        assert!(!output.status.success() && told(&output).contains(&expect), "{}", told(&output));
    }
}
