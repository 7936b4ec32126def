//! The folder of the workspace, calls of `cargo` in it, and the `gnr` program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folder of the root manifest.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run`; the compile-time value serves the program started by its path.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Makes the command `cargo ARGUMENTS` in the workspace, with the cargo that started xtask.
pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Makes the command `PROGRAM ARGUMENTS` in the workspace.
pub(crate) fn program<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: I,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_package(name)) {
        command.env_remove(name);
    }
    command
}

/// Whether cargo set this variable to describe xtask. Build scripts may watch such variables, as ring's does. Such a
/// script would run again under xtask's cargo and then under the user's, and everything above it would be recompiled.
fn is_of_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE"
}

/// Standard output of a command that must succeed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let shown = show(&command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one could type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word in the quotes that a shell needs.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Builds `gnr` in release and returns its path.
///
/// # Errors
/// When it does not build; cargo has then said why.
pub(crate) fn build_gnr() -> Result<PathBuf> {
    built(release_gnr(&[]))
}

/// The command that builds `gnr` in release, with more options.
pub(crate) fn release_gnr(options: &[&str]) -> Command {
    let build = ["build", "--release", "-p", "gnr-cli", "--bin", "gnr"];
    let mut command = cargo(build);
    command.args(options).arg("--message-format=json-render-diagnostics");
    command
}

/// The last executable that a cargo command with `--message-format=json-render-diagnostics` builds.
///
/// # Errors
/// When it does not build; cargo has then said why.
pub(crate) fn built(command: Command) -> Result<PathBuf> {
    let shown = show(&command);
    let executable = |message: &serde_json::Value| message["executable"].as_str().map(PathBuf::from);
    messages(command)?
        .iter()
        .rev()
        .find_map(executable)
        .with_context(|| format!("`{shown}` built no executable"))
}

/// The messages of a cargo command with `--message-format=json-render-diagnostics`, one for each thing that it builds.
///
/// # Errors
/// When something does not build; cargo has then said why.
pub(crate) fn messages(mut command: Command) -> Result<Vec<serde_json::Value>> {
    let shown = show(&command);
    // The message stream names files whatever CARGO_TARGET_DIR or `build.target` say.
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_xtask_is_not_handed_on() {
        for (name, ours) in [
            ("CARGO_PKG_VERSION", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_MANIFEST_PATH", true),
            ("CARGO_HOME", false),
            ("CARGO_TARGET_DIR", false),
            ("CARGO_INCREMENTAL", false),
            ("PATH", false),
        ] {
            assert_eq!(is_of_this_package(OsStr::new(name)), ours, "{name}");
        }
        let command = cargo(["build"]);
        let handed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_")) {
            assert!(handed(&name), "{name} is removed");
        }
    }
}
