//! Under a launcher a command spreads its work over the ranks, or refuses. No command does all work on every rank.

use std::{collections::BTreeSet, path::Path};

use crate::{
    failures::script,
    support::{recipe, succeeds, told, trained},
};

/// Commands that share work; other tests run them on ranks.
const SPREAD: [&str; 6] = ["train", "resume", "eval", "spectrum", "trace", "density"];

/// The other commands, with arguments that would do something.
const SINGLE: [&str; 17] = [
    "compare RECIPE --seeds 2 --out OUT",
    "sweep RECIPE --grid optimizer.lr=0.1,0.01 --out OUT",
    "reproduce table1 --scale smoke --out OUT",
    "watch RUN",
    "report RUN --out OUT",
    "weights RUN/checkpoints/last.safetensors",
    "convert RUN/checkpoints/last.safetensors OUT",
    "bench --model mlp",
    "landscape RUN --out OUT",
    "minima RUN --out OUT",
    "sharpness RUN --out OUT",
    "plot RUN/figure.json --out OUT",
    "models",
    "methods",
    "devices",
    "data",
    "generate OUT",
];

fn tree(folder: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

#[test]
fn every_command_spreads_its_work_or_refuses() {
    let home = tempfile::tempdir().unwrap();
    trained(1, home.path(), "run", &["train.epochs=1"]);
    let (recipe, run, out) = (recipe(home.path()), home.path().join("run"), home.path().join("out"));
    let before = tree(home.path());
    for line in SINGLE {
        let line = line
            .replace("RECIPE", recipe.to_str().unwrap())
            .replace("RUN", run.to_str().unwrap())
            .replace("OUT", out.to_str().unwrap());
        let (output, _) = script(2, &format!("cd {}; exec $0 {line}", home.path().display()));
        let words = told(&output);
        assert!(!output.status.success(), "{line}: {words}");
        assert!(words.contains("this process is one of 2 that were started together"), "{line}: {words}");
        assert!(words.contains("start this command once"), "{line}: {words}");
        let parts = ["compare", "sweep", "reproduce"].iter().any(|command| line.starts_with(command));
        assert_eq!(words.contains("--shard or --slurm"), parts, "{line}: {words}");
        assert_eq!(tree(home.path()), before, "{line} wrote something");
    }
    // This list must have every command.
    let help = succeeds(crate::support::gnr(1, &["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed: BTreeSet<&str> = listed
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let tested = SPREAD.into_iter().chain(SINGLE.iter().filter_map(|line| line.split(' ').next()));
    let hidden = ["generate"];
    let tested: BTreeSet<&str> = tested.filter(|command| !hidden.contains(command)).collect();
    assert_eq!(tested, listed.into_iter().filter(|command| *command != "help").collect());
}
