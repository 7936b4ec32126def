//! The option `--slurm`: its jobs, and that its scripts do the study of one process. A shell script stands in for
//! `sbatch`; it does not run jobs, so the test runs them as Slurm would.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{TINY, gnr, write};

/// A folder name with spaces, quotes, a comment's beginning and characters that Slurm replaces.
const ODD: &str = "it's \"odd\" #1, 100%a $HOME; done";

/// A folder with an `sbatch` of this body, which first writes its arguments to a file, one a line.
fn sbatch(home: &Path, body: &str) -> PathBuf {
    let folder = home.join("bin");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo slurm 23.11.4; exit; fi\nprintf '%s\\n' \"$@\" END >>\"{}\"\n{body}\n",
        home.join("calls").display()
    );
    let path = write(&folder, "sbatch", script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The arguments of each call of `sbatch`.
fn calls(home: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(home.join("calls")).unwrap();
    let mut calls = vec![Vec::new()];
    for line in text.lines() {
        match line {
            "END" => calls.push(Vec::new()),
            word => calls.last_mut().unwrap().push(word.to_owned()),
        }
    }
    calls.pop();
    calls
}

/// The program `gnr` in the folder `here`, with the programs of `path` and the system's.
fn study(here: &Path, path: Option<&Path>, arguments: &[&str]) -> Command {
    let mut command = gnr(arguments);
    let folders = path.map(Path::to_path_buf).into_iter().chain(["/usr/bin", "/bin"].map(PathBuf::from));
    let path: OsString = std::env::join_paths(folders).unwrap();
    command.current_dir(here).env("PATH", path);
    command
}

fn told(mut command: Command, success: bool) -> String {
    let output = command.output().unwrap();
    let text =
        [&output.stdout[..], &output.stderr[..]].map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(output.status.success(), success, "{command:?}: {}", text.concat());
    text.concat()
}

/// The value of an option in a script's `#SBATCH` lines, by Slurm's rules: a backslash quotes the next character,
/// quotes hold words together, white space ends a word, `#` begins a comment.
fn directive(script: &str, option: &str) -> String {
    let lines = script.lines().filter_map(|line| line.strip_prefix("#SBATCH "));
    let words = lines.map(|line| {
        let (mut word, mut quote, mut characters) = (String::new(), None, line.trim_start().chars());
        while let Some(c) = characters.next() {
            match c {
                '\\' => word.extend(characters.next()),
                _ if quote == Some(c) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(c),
                '#' => break,
                c if c.is_whitespace() && quote.is_none() => break,
                c => word.push(c),
            }
        }
        word
    });
    let prefix = format!("{option}=");
    let mut found = words.filter_map(|word| word.strip_prefix(&prefix).map(str::to_owned));
    found.next().unwrap_or_else(|| panic!("no {option} in {script}"))
}

/// A file name as Slurm expands it for a task: `%a` is the task's number, `%%` a `%`.
fn expanded(name: &str, task: &str) -> String {
    name.replace("%%", "\0").replace("%a", task).replace('\0', "%")
}

/// Runs a script as Slurm runs a task of a job, from another folder than that of the submission.
fn task(home: &Path, script: &Path, task: &str) -> String {
    let mut command = Command::new("bash");
    command.arg(script).env("SLURM_ARRAY_TASK_ID", task).current_dir(home);
    told(command, true)
}

/// A study's result without values that differ between equal studies.
fn result(file: &Path) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| {
                    !key.contains("seconds") && !["command", "started", "out"].contains(&&key[..])
                });
                map.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    strip(&mut value);
    value
}

const COMPARE: [&str; 10] = [
    "compare",
    "my net.toml",
    "--seeds",
    "2",
    "--methods",
    "base",
    "--methods",
    "sam method.sam.rho=0.2",
    "--no-sharpness",
    "--jobs=1",
];

#[test]
fn a_comparison_is_submitted_as_an_array_and_a_report_after_it() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path().join(ODD);
    write(&here, "my net.toml", TINY);
    let path = sbatch(
        home.path(),
        "echo Submitted batch job $((122 + $(grep -c END \"$(dirname \"$0\")/../calls\")))",
    );
    let arguments = [&COMPARE[..], &["--slurm", "3", "--out", "the study"]].concat();
    let words = told(study(&here, Some(&path), &arguments), true);
    assert!(
        words.contains("submitted: array 123 of 3 parts, and 124, which trains what they left"),
        "{words}"
    );
    let scripts = here.join("the study").join("slurm");
    let [array, report] = ["array.sh", "report.sh"].map(|name| scripts.join(name));
    let [array_word, report_word] = [&array, &report].map(|path| path.to_str().unwrap());
    assert_eq!(
        calls(home.path()),
        [vec!["--parsable", array_word], vec!["--parsable", "--dependency=afterany:123", report_word]]
    );
    let text = fs::read_to_string(&array).unwrap();
    assert_eq!(directive(&text, "--array"), "1-3");
    let output = expanded(&directive(&text, "--output"), "2");
    assert_eq!(Path::new(&output), scripts.join("part-2.out"));
    let text = fs::read_to_string(&report).unwrap();
    assert_eq!(Path::new(&expanded(&directive(&text, "--output"), "")), scripts.join("report.out"));
    // Two parts of three end; the report finds and trains the runs of the third.
    for part in ["1", "3"] {
        let words = task(home.path(), &array, part);
        assert!(words.contains("this part is done"), "{words}");
    }
    let words = task(home.path(), &report, "");
    assert!(words.contains("to train"), "{words}");
    told(study(&here, None, &[&COMPARE[..], &["--out", "whole"]].concat()), true);
    assert_eq!(
        result(&here.join("the study").join("compare.json")),
        result(&here.join("whole").join("compare.json"))
    );
}

/// Without an `sbatch` the array is printed, and the printed text is a script that runs.
#[test]
fn a_sweep_that_is_printed_runs_by_hand() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path().join(ODD);
    write(&here, "my net.toml", TINY);
    let sweep =
        ["sweep", "my net.toml", "--set", "data.validation=0.2", "--grid", "optimizer.lr=0.1,0.01,0.001"];
    let arguments = [&sweep[..], &["--slurm=2", "--out=the study"]].concat();
    let output = study(&here, None, &arguments).output().unwrap();
    assert!(output.status.success());
    let printed = write(home.path(), "printed.sh", &output.stdout);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("There is no sbatch here: nothing was submitted"), "{text}");
    for part in 1..=2 {
        task(home.path(), &printed, &part.to_string());
    }
    let study_folder = here.join("the study");
    // The command without a part has nothing left to train.
    let dry = told(study(&here, None, &[&sweep[..], &["--out=the study", "--dry-run"]].concat()), true);
    assert!(dry.contains("3 finished"), "{dry}");
    task(home.path(), &study_folder.join("slurm").join("report.sh"), "");
    told(study(&here, None, &[&sweep[..], &["--out=whole"]].concat()), true);
    assert_eq!(result(&study_folder.join("sweep.json")), result(&here.join("whole").join("sweep.json")));
}

#[test]
fn a_table_is_submitted_too() {
    let home = tempfile::tempdir().unwrap();
    let path = sbatch(home.path(), "echo '77;second'");
    let arguments = ["reproduce", "table1", "--scale", "smoke", "--slurm", "40", "--out", "table"];
    let words = told(study(home.path(), Some(&path), &arguments), true);
    assert!(words.contains("submitted: array 77 of 40 parts, and 77"), "{words}");
    assert_eq!(calls(home.path())[1][1], "--dependency=afterany:77");
    let text = fs::read_to_string(home.path().join("table").join("slurm").join("array.sh")).unwrap();
    assert!(text.contains(" reproduce table1 --scale smoke --out "), "{text}");
    assert!(text.ends_with(" --shard \"$SLURM_ARRAY_TASK_ID/40\"\n"), "{text}");
}

/// A dry run submits nothing, and neither does a command that every part would refuse.
#[test]
fn a_table_is_submitted_only_after_its_checks() {
    let home = tempfile::tempdir().unwrap();
    let path = sbatch(home.path(), "echo 7");
    let table = ["table1", "--scale", "smoke", "--seeds", "1", "--slurm", "4", "--out", "table"];
    let dry = [&["reproduce"], &table[..], &["--dry-run"]].concat();
    let text = told(study(home.path(), Some(&path), &dry), true);
    assert!(!text.contains("submitted"), "{text}");
    for (what, words) in [
        (["tabel1", "--scale", "smoke"], "nothing to reproduce is called `tabel1`"),
        (["table1", "--scale", "small"], "--data"),
    ] {
        let arguments = [&["reproduce"], &what[..], &["--slurm", "4", "--out", "table"]].concat();
        let text = told(study(home.path(), Some(&path), &arguments), false);
        assert!(text.contains(words), "{text}");
    }
    assert!(!home.path().join("table").exists(), "no script was written");
    assert!(!home.path().join("calls").exists(), "sbatch was not called");
}

#[test]
fn what_sbatch_refuses_is_told() {
    for (body, expected) in [
        ("echo 'Invalid account' >&2; exit 1", "array.sh: Invalid account"),
        ("echo queued", "said `queued`: expected the number of a job"),
        (
            "case $* in *dependency*) echo 'Job dependency problem' >&2; exit 1;; esac; echo 5",
            "the array was submitted as job 5 (`scancel 5` ends it), and the report after it was not: sbatch refused",
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "my net.toml", TINY);
        let path = sbatch(home.path(), body);
        let arguments = [&COMPARE[..], &["--slurm", "2", "--out", "study"]].concat();
        let words = told(study(home.path(), Some(&path), &arguments), false);
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn folders_and_words_that_no_script_can_name_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "my net.toml", TINY);
    let words = told(
        study(home.path(), None, &[&COMPARE[..], &["--slurm", "2", "--out", "back\\slash"]].concat()),
        false,
    );
    assert!(words.contains("a backslash or a line break in its path; choose another --out"), "{words}");
    let mut command = study(home.path(), None, &[&COMPARE[..], &["--slurm", "2"]].concat());
    command.arg("--out").arg(OsString::from_vec(b"\xff".to_vec()));
    let words = told(command, false);
    assert!(words.contains("expected UTF-8 in words and paths of a job script"), "{words}");
    assert!(!home.path().join("back\\slash").exists());
}
