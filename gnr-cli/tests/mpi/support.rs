//! Helpers that run the program on ranks, and read what it leaves.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gnr_train::CheckpointFile;

/// A recipe of 100 digits in batches of 20: five steps an epoch. On three ranks the shares are 6, 7 and 7 images.
pub(crate) const DIGITS: &str = r#"
name = "digits"
[data]
subset = { per_class = 10 }
[model]
name = "mlp"
widths = [16]
[train]
epochs = 4
batch_size = 20
threads = 1
workers = 1
precision = "f64"
"#;

pub(crate) fn recipe(folder: &Path) -> PathBuf {
    let path = folder.join("digits.toml");
    std::fs::write(&path, DIGITS).unwrap();
    path
}

/// The command `mpirun -n RANKS gnr ARGUMENTS`, or the program by itself on one rank.
pub(crate) fn gnr(ranks: usize, arguments: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_gnr");
    let mut command = if ranks == 1 {
        Command::new(program)
    } else {
        let mut command = mpirun(ranks);
        command.arg(program);
        command
    };
    command.args(arguments);
    command
}

/// The command `mpirun -n RANKS`, without a program.
pub(crate) fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]).env_remove("GNR_LOG");
    command
}

pub(crate) fn told(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

pub(crate) fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started ({error}); mpirun is in Debian's openmpi-bin")
    });
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    told(&output)
}

/// Trains into a folder and returns the checkpoint's parameters and running statistics.
pub(crate) fn trained(ranks: usize, home: &Path, name: &str, sets: &[&str]) -> Vec<f64> {
    let (recipe, out) = (recipe(home), home.join(name));
    let mut arguments = vec!["train", recipe.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()];
    arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
    succeeds(gnr(ranks, &arguments));
    model(&out)
}

/// Parameters and running statistics of a run's last checkpoint.
pub(crate) fn model(run: &Path) -> Vec<f64> {
    let file = CheckpointFile::read(&last(run)).unwrap();
    let weights = file.weights();
    let beside = ["optimizer.", "regularizer.", "average."];
    let of_model = |name: &str| !beside.iter().any(|prefix| name.starts_with(prefix));
    let tensors = weights.stored().iter().filter(|tensor| of_model(&tensor.name));
    tensors.flat_map(|tensor| weights.values(tensor).unwrap()).collect()
}

pub(crate) fn last(run: &Path) -> PathBuf {
    run.join("checkpoints").join("last.safetensors")
}

/// The relative difference ‖a − b‖/‖b‖.
pub(crate) fn relative(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}
