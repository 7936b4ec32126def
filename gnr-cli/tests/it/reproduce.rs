//! Tests of `gnr reproduce`: which runs are trained, which are not repeated, and what the report says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::support::{gnr, run};

/// A folder in which to reproduce.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// The command `gnr reproduce table1` with the MLP, one epoch and two runs at a time, unless `more` says otherwise.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        self.command_in(&self.out(), more)
    }

    pub(crate) fn command_in(&self, out: &Path, more: &[&str]) -> Command {
        let mut command = gnr(&["reproduce"]);
        let what = |word: &&str| word.starts_with("table") || word.starts_with("figure");
        if !more.iter().any(what) {
            command.args(["table1", "--only", "/mlp-w64/"]);
        }
        for (option, value) in [("--jobs", "2"), ("--epochs", "1")] {
            if !more.contains(&option) {
                command.args([option, value]);
            }
        }
        command.arg("--out").arg(out).args(more);
        command
    }

    /// Runs the command. Returns whether it succeeded, and its output.
    pub(crate) fn reproduce(&self, more: &[&str]) -> (bool, String) {
        let output = self.command(more).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Names and folders of the runs, as a dry run lists them.
    pub(crate) fn runs(&self, more: &[&str]) -> Vec<(String, PathBuf)> {
        let (ok, text) = self.reproduce(&[more, &["--dry-run"]].concat());
        assert!(ok, "{text}");
        let states = ["finished ", "to continue ", "to train "];
        let line = |line: &str| {
            let rest = states.iter().find_map(|state| line.strip_prefix(state))?;
            let words: Vec<&str> = rest.split_whitespace().collect();
            Some(((*words.first()?).to_owned(), PathBuf::from(words.last()?)))
        };
        text.lines().filter_map(line).collect()
    }

    pub(crate) fn run(&self, more: &[&str], name: &str) -> PathBuf {
        self.runs(more).into_iter().find(|(found, _)| found == name).unwrap().1
    }

    /// Writes every run as finished, with an accuracy made of the method and the seed.
    fn pretend(&self, more: &[&str]) {
        for (name, folder) in self.runs(more) {
            let seed: u64 = name.rsplit('/').next().unwrap().parse().unwrap();
            let exact = if name.contains("exact") { 20 + seed } else { 0 };
            let accuracy = format!("0.{}", 900 + seed + exact);
            fs::create_dir_all(&folder).unwrap();
            let epoch = |epoch: u64, loss: f64, accuracy: &str| {
                format!(
                    "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{epoch},\"train_loss\":{loss},\"train_accuracy\":0.5,\
                     \"test_accuracy\":{accuracy},\"test_loss\":0.5,\"learning_rate\":0.1,\"grad_norm\":1.0,\
                     \"penalties\":{{}},\"seconds\":0.2}}\n"
                )
            };
            let metrics =
                epoch(1, 2.0, "0.5") + &epoch(2, 0.4, &accuracy) + "{\"kind\":\"epoch\",\"epoch\":3,\"tr";
            fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
            let summary = format!(
                "{{\"finished\":true,\"test_accuracy\":{accuracy},\"test_loss\":0.5,\"seconds\":0.4,\"steps\":44,\
                 \"gradient_evaluations\":88,\"products\":11,\"commit\":\"abcdef\"}}"
            );
            fs::write(folder.join("summary.json"), summary).unwrap();
        }
    }

    /// The number of runs that have a folder.
    pub(crate) fn begun(&self) -> usize {
        fs::read_dir(self.out().join("runs")).map_or(0, Iterator::count)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap()
    }
}

#[test]
fn trains_each_case_once_and_reports() {
    let bench = Bench::new();
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok && text.contains("[ 18/18]") && text.contains("table1.html"), "{text}");
    assert_eq!(bench.begun(), 18, "six methods, three seeds");

    let (ok, again) = bench.reproduce(&[]);
    assert!(ok && again.contains("18 finished before, 0 to train"), "{again}");
    assert!(!again.contains("[ "), "finished runs are not repeated: {again}");

    let (ok, more) = bench.reproduce(&["--seeds", "4"]);
    assert!(ok && more.contains("18 finished before, 6 to train"), "{more}");
}

#[test]
fn the_report_says_what_the_runs_say() {
    let bench = Bench::new();
    bench.pretend(&[]);
    let (ok, terminal) = bench.reproduce(&[]);
    assert!(ok && terminal.contains("18 finished before, 0 to train"), "{terminal}");
    let markdown = bench.read("table1.md");
    // SGD: 90.0, 90.1, 90.2. GNR exact: 92.0, 92.2, 92.4; paired 2.0, 2.1, 2.2, so t(2)·0.1/√3 = 0.25 beside 2.10.
    for expect in [
        "| SGD | 90.10 ± 0.10 |",
        "| SGD + GNR exact | 92.20 ± 0.20 |",
        "| SGD + GNR finite diff. | 90.10 ± 0.10 |",
        "+2.10 ± 0.10 | [+1.85, +2.35] | 3 | better",
        "+0.00 ± 0.00 | – | 3 | nothing can be said",
        "says nothing about the paper's numbers",
        "0.200 (1.0 ×)",
        "--scale small",
        "seeds: 0, 1, 2",
        "runs trained by: abcdef",
        "command: `gnr reproduce table1 --only /mlp-w64/",
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
    for outside in ["<script", "src=", "href=", "@import", "#000000", "#1E1E1E", "#FFFFFF"] {
        assert!(!html.contains(outside), "self-contained and readable in the dark: {outside}");
    }
}

#[test]
fn a_failed_run_is_told_and_the_others_go_on() {
    let bench = Bench::new();
    // Existing files are not overwritten.
    let broken = bench.run(&[], "digits/mlp-w64/sam/0");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("notes.txt"), "mine").unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(!ok && text.contains("1 of 18 runs failed"), "{text}");
    assert!(text.contains("FAILED: ") && text.contains(broken.to_str().unwrap()), "{text}");
    assert_eq!(bench.begun(), 18);
    let markdown = bench.read("table1.md");
    assert!(
        markdown.contains("(2 of 3 seeds)") && markdown.contains("Failed: digits/mlp-w64/sam/0"),
        "{markdown}"
    );

    fs::remove_dir_all(&broken).unwrap();
    let (ok, text) = bench.reproduce(&[]);
    assert!(ok && text.contains("17 finished before, 1 to train"), "{text}");
}

#[test]
fn an_unfinished_run_is_continued() {
    let bench = Bench::new();
    assert!(bench.reproduce(&["--seeds", "1"]).0);
    let run = bench.run(&["--seeds", "1"], "digits/mlp-w64/sgd/0");
    fs::remove_file(run.join("summary.json")).unwrap();
    let (_, dry) = bench.reproduce(&["--seeds", "1", "--dry-run"]);
    assert!(dry.contains("to continue") && dry.contains("1 of 6 runs to train"), "{dry}");
    // One epoch of 23 steps.
    assert!(dry.contains(" 23 gradients") && dry.contains("about "), "{dry}");
    assert!(!run.join("summary.json").exists(), "a dry run starts nothing");
    let (ok, text) = bench.reproduce(&["--seeds", "1"]);
    assert!(ok && text.contains("5 finished before, 1 to train"), "{text}");
    assert!(run.join("summary.json").exists());
}

#[test]
fn every_table_is_reported_from_the_same_runs() {
    let bench = Bench::new();
    // Without ResNet-8: Table 1 has 2 nets × 6 methods; Table 2 has 6; Table 3 has 2 × 6 and 2 pretrainings; Table 4
    // has 22, of which 6 are Table 1's.
    let mut runs = 0;
    for (table, more, expect) in [
        ("table1", 12, "GNR improves SAM performance by 1.18%"),
        ("table2", 6, "Top-5 $92.59"),
        ("table3", 14, "AdamW"),
        ("table4", 16, "| SGD + GNR exact, 1/20 of steps |"),
    ] {
        let (ok, text) = bench.reproduce(&[table, "--seeds", "1", "--only", "/mlp", "--only", "/lenet"]);
        assert!(ok, "{text}");
        runs += more;
        assert_eq!(bench.begun(), runs, "{text}");
        let markdown = bench.read(&format!("{table}.md"));
        assert!(markdown.contains(expect), "{expect}\n{markdown}");
    }
}

#[test]
fn figures_are_measured_and_drawn_once() {
    let bench = Bench::new();
    let (ok, text) = bench.reproduce(&["figure1", "--seeds", "1"]);
    assert!(ok && text.contains("measuring: minima of digits/mlp-w64/sam/0"), "{text}");
    let report = bench.read("figure1.md");
    assert!(report.contains("R_SAM ≥ 2.000000000, R_GNR ≥ 3.141592654"), "{report}");
    assert!(
        report.contains("![Numbers of local minima") && report.contains("| SAM, seed 0 | 0.0100 |"),
        "{report}"
    );
    for file in ["figure1a.png", "figure1b.svg", "figure1b.csv", "figure1b.figure.json"] {
        assert!(bench.out().join(file).is_file(), "{file}");
    }
    let (ok, again) = bench.reproduce(&["figure1", "--seeds", "1"]);
    assert!(ok && !again.contains("measuring") && again.contains("figure1.md"), "{again}");
}

#[test]
fn table4_tells_the_speed_beside_the_base() {
    let bench = Bench::new();
    let table = ["table4", "--seeds", "2"];
    bench.pretend(&table);
    let (ok, text) = bench.reproduce(&table);
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
        assert!(ok && text.contains("part") && text.contains("6 runs: 0 finished before"), "{text}");
    }
    assert_eq!(bench.begun(), 18);
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
    let data = empty.to_str().unwrap();
    let (ok, text) = bench.reproduce(&["table1", "--scale", "paper", "--data", data]);
    let fetch = format!("gnr data fetch cifar100 --data-dir {data}");
    assert!(!ok && text.contains("https://www.cs.toronto.edu") && text.contains(&fetch), "{text}");
    assert!(!bench.out().exists());
}

#[test]
fn what_is_not_there_is_said() {
    for what in ["figure4", "table9"] {
        let (code, _, text) = run(&["reproduce", what]);
        let expect = format!("nothing to reproduce is called `{what}`; available: table1");
        assert!(code == 1 && text.contains(&expect), "{text}");
    }
    let (code, _, text) = run(&["reproduce", "table1", "--scale", "huge"]);
    assert!(code == 2 && text.contains("smoke, small, paper"), "{text}");
    let (code, _, text) = run(&["reproduce", "table1", "--only", "vgg"]);
    assert!(code == 1 && text.contains("no run's name contains vgg"), "{text}");
}

#[test]
fn recipes_are_written_and_checked() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().to_str().unwrap();
    let (code, said, _) = run(&["reproduce", "--write-recipes", root]);
    assert!(code == 0 && said.contains("written or removed"), "{said}");
    assert_eq!(run(&["reproduce", "--write-recipes", root, "--check"]).0, 0);
    fs::write(home.path().join("paper/table2-imagenet-resnet50.toml"), "").unwrap();
    let (code, _, error) = run(&["reproduce", "--write-recipes", root, "--check"]);
    assert!(code == 1 && error.contains("paper/table2-imagenet-resnet50.toml"), "{error}");
}
