//! Commands that take a second and leave files. The tests kill and starve them; their results must not change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{TINY, gnr, run, tree, write};

/// The recipe of a net with BatchNorm, an average, checkpoints and log lines within epochs, and kept weights.
const RECIPE: &str = r#"
[data]
subset = { per_class = 10 }
validation = 0.1
augment = "pad-crop-flip"
[model]
name = "resnet8"
widths = [4, 8, 8]
[method]
sam = true
gnr = true
[train]
epochs = 4
batch_size = 15
threads = 1
workers = 1
checkpoint_every_steps = 2
log_every_steps = 1
keep_every_epochs = 2
average = { kind = "swa", from_epoch = 2 }
"#;

/// A command whose results go to a folder.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    arguments: Vec<String>,
    /// The result that the command refuses to make again, if there is one.
    finished: Option<&'static str>,
    home: tempfile::TempDir,
}

impl Job {
    /// The job of a command, by the command's name.
    pub(crate) fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let recipe = write(home, "r.toml", if name == "train" { RECIPE } else { TINY }).display().to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (arguments, finished) = match name {
            "train" => (words(&["train", &recipe, "--resume"]), None),
            "compare" => {
                let methods =
                    ["--methods", "base,sam,gnr", "--seeds", "2", "--jobs", "2", "--set=train.epochs=6"];
                ([words(&["compare", &recipe]), words(&methods)].concat(), None)
            }
            "sweep" => {
                let grid = ["--grid=method.gnr.rho=0.05,0.2", "--grid=method.gnr.alpha=0.1,1", "--jobs=2"];
                ([words(&["sweep", &recipe]), words(&grid), words(&["--set=train.epochs=12"])].concat(), None)
            }
            "spectrum" | "landscape" => {
                let net = home.join("net").display().to_string();
                let (code, _, stderr) = run(&["train", &recipe, "--out", &net, "--set=model.widths=[8]"]);
                assert_eq!(code, 0, "{stderr}");
                // One or two images at a time: each product and each point takes milliseconds.
                if name == "spectrum" {
                    let more =
                        ["--both-ends", "20", "--tol", "1e-6", "--batch-size", "1", "--save", "--resume"];
                    ([words(&[name, &net]), words(&more)].concat(), Some("spectrum.json"))
                } else {
                    (words(&[name, &net, "--points", "11", "--batch-size", "2"]), None)
                }
            }
            other => panic!("no job is called {other}"),
        };
        Self { name, arguments, finished, home: folder }
    }

    /// A place for results, below the job's own folder.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The command for the first start and for every other start.
    pub(crate) fn command(&self, out: &Path) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = gnr(&arguments);
        command.arg("--out").arg(out).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Whether there is a result that the command will not make again.
    pub(crate) fn refuses(&self, out: &Path) -> bool {
        self.finished.is_some_and(|file| out.join(file).exists())
    }

    /// Runs the command; the error says what is wrong if it does not succeed.
    pub(crate) fn run(&self, out: &Path) -> Result<(), String> {
        let refuses = self.refuses(out);
        let output = self.command(out).output().unwrap();
        let told = told(&output);
        let refused = refuses && told.contains("holds a finished");
        if output.status.success() || refused { Ok(()) } else { Err(told) }
    }

    /// The results of an undisturbed command, and its duration.
    pub(crate) fn whole(&self) -> (BTreeMap<String, Vec<u8>>, Duration) {
        let out = self.place("whole");
        let before = Instant::now();
        self.run(&out).unwrap();
        let time = before.elapsed();
        (results(&out), time)
    }
}

/// The output of a process as text.
pub(crate) fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy;
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// All contents of a folder that must not depend on how often the work was begun: every file but locks, without times,
/// the command line and the folder's own name. Of event files and of reports for people, which contain times, only the
/// name counts.
pub(crate) fn results(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in tree(out) {
        let name = Path::new(&file).file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".lock") {
            continue;
        }
        let bytes = fs::read(out.join(&file)).unwrap();
        let path = out.display().to_string();
        let lines = || {
            let text = String::from_utf8(bytes.clone()).unwrap();
            text.lines().map(|line| timeless(line, &path)).collect::<Vec<_>>().join("\n").into_bytes()
        };
        let (key, contents) = if name.starts_with("events.out.tfevents.") {
            // The name and the contents contain the time of writing.
            (file.replace(&name, "events"), Vec::new())
        } else if name == "compare.md" || name == "compare.html" {
            (file, Vec::new())
        } else if name.ends_with(".jsonl") {
            (file, lines())
        } else if name.ends_with(".json") {
            let text = String::from_utf8(bytes).unwrap();
            (file, timeless(&text, &path).into_bytes())
        } else {
            (file, bytes)
        };
        found.insert(key, contents);
    }
    found
}

/// JSON without values that depend on time or place.
fn timeless(text: &str, path: &str) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(entries) => {
                for key in ["seconds", "train_seconds", "seconds_per_matvec", "peak_rss_mb", "command"] {
                    entries.remove(key);
                }
                entries.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    strip(&mut value);
    value.to_string().replace(path, "OUT")
}

/// The names of files that differ, for messages.
pub(crate) fn difference(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// The number of trials: a handful, or `GNR_KILLS`.
pub(crate) fn trials(usual: u32) -> u32 {
    std::env::var("GNR_KILLS").map_or(usual, |n| n.parse().expect("GNR_KILLS is a number"))
}
