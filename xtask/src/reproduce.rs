//! `cargo xtask reproduce` and `cargo xtask recipes`: build the `gnr` program and call its `reproduce`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Options of `cargo xtask reproduce`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// What `gnr reproduce` takes (`--help` shows it), and --gnr PATH: the program to call. Default: the environment's
    /// GNR_PROGRAM, else built from this workspace in release.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WHAT")]
    words: Vec<OsString>,
}

/// Options of `cargo xtask recipes`.
#[derive(clap::Args)]
pub(crate) struct Recipes {
    /// Write nothing; fail when a file is not what the plan says.
    #[arg(long)]
    check: bool,
}

/// Becomes `gnr reproduce`, so that signals and exit codes are its own.
///
/// # Errors
/// A program that cannot be built or started.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (given, words) = split(&arguments.words)?;
    let mut command = Command::new(program(given)?);
    command.arg("reproduce").args(words);
    become_program(command)
}

/// Writes or checks the recipes.
///
/// # Errors
/// As [`run`].
pub(crate) fn recipes(arguments: &Recipes) -> Result<()> {
    let mut command = Command::new(program(None)?);
    command.args(["reproduce", "--write-recipes"]).arg(workspace::root().join("recipes"));
    if arguments.check {
        command.arg("--check");
    }
    become_program(command)
}

fn program(given: Option<PathBuf>) -> Result<PathBuf> {
    match given.or_else(|| std::env::var_os("GNR_PROGRAM").map(PathBuf::from)) {
        Some(path) => std::path::absolute(&path).with_context(|| format!("--gnr {}", path.display())),
        None => workspace::build_gnr(),
    }
}

/// Takes `--gnr PATH` out of the words.
fn split(words: &[OsString]) -> Result<(Option<PathBuf>, Vec<&OsString>)> {
    let (mut given, mut rest) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--gnr" {
            let Some(path) = words.next() else { bail!("--gnr: expected the path of the program") };
            given = Some(path.into());
        } else if let Some(path) = text.strip_prefix("--gnr=") {
            given = Some(path.into());
        } else {
            rest.push(word);
        }
    }
    Ok((given, rest))
}

#[cfg(unix)]
fn become_program(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec()).with_context(|| format!("cannot start {}", command.get_program().display()))
}

#[cfg(not(unix))]
fn become_program(mut command: Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    std::process::exit(status.code().unwrap_or(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_ours_and_everything_else_is_its() {
        let words = ["table1", "--gnr", "a/gnr", "--merge", "x", "y"].map(OsString::from);
        let (given, rest) = split(&words).unwrap();
        assert_eq!(given, Some("a/gnr".into()));
        assert_eq!(rest, ["table1", "--merge", "x", "y"]);
        assert_eq!(split(&["--gnr=b".into()]).unwrap().0, Some("b".into()));
        assert!(split(&["--gnr".into()]).unwrap_err().to_string().contains("path of the program"));
    }
}
