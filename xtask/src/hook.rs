//! `cargo xtask hook`: a git hook that checks formatting and structural rules before each commit. It takes seconds;
//! everything else is CI's.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::workspace::{output, root};

/// Options of `cargo xtask hook`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Take the hook away.
    #[arg(long)]
    remove: bool,
    /// Replace a hook that is not ours.
    #[arg(long, conflicts_with = "remove")]
    force: bool,
}

/// The line by which our hook is recognised.
const MARK: &str = "# Installed by `cargo xtask hook`; `cargo xtask hook --remove` takes it away.";

fn script() -> String {
    format!(
        "#!/bin/sh\n{MARK}\n# `git commit --no-verify` commits without it.\nset -e\ncargo fmt --all --check\ncargo xtask tidy\n"
    )
}

/// Installs or removes the hook of this checkout.
///
/// # Errors
/// No git repository; a hook that is not ours.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut git = Command::new("git");
    // git takes worktrees and `core.hooksPath` into account.
    git.args(["rev-parse", "--git-path", "hooks"]).current_dir(root());
    let path = root().join(PathBuf::from(output(git)?.trim())).join("pre-commit");
    let done = if arguments.remove { remove(&path)? } else { install(&path, arguments.force)? };
    println!("{done}: {}", path.display());
    Ok(())
}

/// Whether a hook is ours; `None` when there is none.
fn ours(path: &Path) -> Result<Option<bool>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.contains(MARK))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn install(path: &Path, force: bool) -> Result<&'static str> {
    if ours(path)? == Some(false) && !force {
        bail!(
            "{} is a hook of yours: add `cargo fmt --all --check` and `cargo xtask tidy` to it, or --force",
            path.display()
        );
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, script()).with_context(|| format!("cannot write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, permissions)
            .with_context(|| format!("cannot make {} executable", path.display()))?;
    }
    Ok("installed")
}

fn remove(path: &Path) -> Result<&'static str> {
    match ours(path)? {
        None => Ok("there was none"),
        Some(false) => bail!("{} is not ours and stays", path.display()),
        Some(true) => {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            Ok("removed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_comes_and_goes_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hooks/pre-commit");
        assert_eq!(remove(&path).unwrap(), "there was none");
        install(&path, false).unwrap();
        install(&path, false).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("cargo xtask tidy\n"));
        assert_eq!(remove(&path).unwrap(), "removed");
        fs::write(&path, "#!/bin/sh\nmine\n").unwrap();
        assert!(install(&path, false).unwrap_err().to_string().contains("a hook of yours"));
        assert!(remove(&path).is_err());
        install(&path, true).unwrap();
        assert_eq!(ours(&path).unwrap(), Some(true));
    }

    #[cfg(unix)]
    #[test]
    fn the_shell_runs_it_and_a_failure_keeps_the_commit_away() {
        let folder = tempfile::tempdir().unwrap();
        let (hook, cargo) = (folder.path().join("pre-commit"), folder.path().join("cargo"));
        install(&hook, false).unwrap();
        // A cargo that writes down what it is asked for, and refuses one thing.
        let run = |refused: &str| {
            fs::write(&cargo, format!("#!/bin/sh\necho \"$@\"\n[ \"$1\" != {refused} ]\n")).unwrap();
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
            let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
            let output = Command::new(&hook).env("PATH", path).output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run("nothing"), (true, "fmt --all --check\nxtask tidy\n".into()));
        assert_eq!(run("fmt"), (false, "fmt --all --check\n".into()));
        assert!(!run("xtask").0);
    }
}
