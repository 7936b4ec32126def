//! Bad recipes, settings, flags and run folders with the program's answers, as the table docs/bad-inputs/program.md, in
//! which the wording can be judged. With `GNR_WRITE_TABLES=1` (or `GNR_REWRITE=1`) the test writes the table, else it
//! compares.

mod damage;
mod rows;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use damage::{MLP, RUNS};
use rows::{COMMANDS, RECIPES, SETTINGS};

use crate::support::{TINY, gnr, run, safetensors, write};

/// A row: its description, and the words after `gnr`. `DIR` is the folder of the files.
type Row = (&'static str, Vec<String>);

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            assert!(fs::copy(entry.path(), target).is_ok())
        }
    }
}

/// Writes the files that the rows name.
fn prepare(home: &Path) {
    write(home, "tiny.toml", TINY);
    write(home, "w.safetensors", safetensors(MLP));
    write(home, "full/notes.txt", "mine");
    write(home, "labels.txt", "0\n1\n");
    write(home, "names.txt", "zero\none\n");
    write(home, "twice.txt", "0 0\n1 1\n0 2\n");
    write(home, "beyond.txt", "0 0\n1 10\n");
    write(home, "long.toml", "# a comment\n".repeat(30_000));
    write(home, "figure.json", "{\"title\": \"t\", \"panels\": [{\"title\": \"p\", \"kind\": \"pie\"}]}");
    fs::create_dir(home.join("empty")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(home.join("away.pth"), home.join("link.pth")).unwrap();
    let recipe = home.join("tiny.toml");
    let run_folder = home.join("run");
    let (code, _, stderr) = run(&["train", recipe.to_str().unwrap(), "--out", run_folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    // A copy of the run after its first epoch.
    copy(&run_folder, &home.join("half"));
    fs::remove_file(home.join("half/summary.json")).unwrap();
}

/// The program's answer in a line, without the reminder of the usage.
fn said(home: &Path, words: &[String]) -> String {
    let dir = home.display().to_string();
    let words: Vec<String> = words.iter().map(|word| word.replace("DIR", &dir)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = gnr(&words).current_dir(home).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(
        matches!(code, Some(1 | 2)),
        "gnr {}: {code:?} {stderr}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout)
    );
    let error = stderr.find("error: ").unwrap_or_else(|| panic!("gnr {}: {stderr}", words.join(" ")));
    let text = stderr[error + "error: ".len()..].replace(&dir, "DIR");
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn section(table: &mut String, home: &Path, title: &str, rows: Vec<Row>) {
    write!(table, "\n## {title}\n\n| input | command | what is said |\n|---|---|---|\n").unwrap();
    for (what, words) in rows {
        let said = said(home, &words);
        let command = words.join(" ").replace('|', "\\|");
        writeln!(table, "| {what} | `{command}` | {said} |").unwrap();
    }
}

#[test]
fn every_bad_input_is_told_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    prepare(home);
    let mut table = String::from(
        "# Bad recipes, settings, flags and run folders, and what is said of them\n\nWritten by `GNR_WRITE_TABLES=1 cargo test -p gnr-cli \
         bad_table`; the test compares it. `DIR` is the folder of the files; `tiny.toml` is a small recipe, `run` a run of it.\n",
    );
    let mut recipes: Vec<Row> = Vec::new();
    for (what, text) in RECIPES {
        let name = format!("{}.toml", what.replace(' ', "-"));
        write(home, &name, text);
        recipes.push((what, words(&format!("train DIR/{name} --dry-run"))));
    }
    section(&mut table, home, "Recipes", recipes);
    let setting = |&(what, set): &(&'static str, &str)| {
        (
            what,
            ["train".into(), "DIR/tiny.toml".into(), "--dry-run".into(), "--set".into(), set.to_owned()]
                .to_vec(),
        )
    };
    section(&mut table, home, "Settings", SETTINGS.iter().map(setting).collect());
    let command = |&(what, text): &(&'static str, &str)| (what, words(text));
    section(&mut table, home, "Commands and flags", COMMANDS.iter().map(command).collect());
    let mut runs: Vec<Row> = Vec::new();
    for (number, (what, damage, command)) in RUNS.iter().enumerate() {
        let copied = home.join(format!("run-{number}"));
        copy(&home.join("half"), &copied);
        damage(&copied);
        runs.push((what, words(&command.replace("RUN", &format!("DIR/run-{number}")))));
    }
    section(&mut table, home, "Run folders that were changed", runs);
    compare(&table);
}

fn compare(table: &str) {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "docs", "bad-inputs", "program.md"].iter().collect();
    if ["GNR_WRITE_TABLES", "GNR_REWRITE"].iter().any(|name| std::env::var_os(name).is_some()) {
        fs::write(&path, table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    for (written, now) in written.lines().zip(table.lines()) {
        assert_eq!(now, written, "GNR_WRITE_TABLES=1 writes the table anew");
    }
    assert_eq!(written.lines().count(), table.lines().count(), "GNR_WRITE_TABLES=1 writes the table anew");
    // Nobody could tell two different inputs with equal answers apart.
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input")).collect();
    let distinct: BTreeSet<&str> = rows.iter().filter_map(|row| row.split(" | ").nth(2)).collect();
    assert!(distinct.len() * 100 >= rows.len() * 95, "{} messages for {} inputs", distinct.len(), rows.len());
}
