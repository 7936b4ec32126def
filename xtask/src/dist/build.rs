//! The binary: built from the lock file, without a path of the machine in it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::Origin;
use crate::workspace::{cargo, output, show};

/// This machine's target triple.
pub(super) fn host() -> Result<String> {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let told = output(rustc)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Builds the program of a checkout below `folder` and gives its path.
pub(super) fn binary(checkout: &Path, origin: &Origin, folder: &Path) -> Result<PathBuf> {
    let target = &origin.target;
    let mut command = cargo(["build", "--release", "--locked", "-p", "gnr-cli", "--bin", "gnr", "--target"]);
    command.arg(target).arg("--target-dir").arg(folder).current_dir(checkout);
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(checkout, folder, target)?.join("\u{1f}"));
    // Lines of our code in a backtrace are worth less here than a third of the size.
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    command.env("CARGO_INCREMENTAL", "0");
    command.env("GNR_COMMIT", &origin.commit).env("SOURCE_DATE_EPOCH", origin.date.to_string());
    let shown = show(&command);
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}`: {status}");
    }
    let name = if target.contains("windows") { "gnr.exe" } else { "gnr" };
    Ok(folder.join(target).join("release").join(name))
}

/// What makes the bytes independent of where things lie; the last of several prefixes that fit counts.
fn flags(checkout: &Path, folder: &Path, target: &str) -> Result<Vec<String>> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(checkout);
    let sysroot = output(rustc)?;
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("expected CARGO_HOME, or a home directory")?;
    let prefixes = [
        (home, "/cargo"),
        (PathBuf::from(sysroot.trim()), "/rust"),
        (checkout.to_path_buf(), "/gnr"),
        (folder.to_path_buf(), "/build"),
    ];
    let mut flags: Vec<String> =
        prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    if target.ends_with("linux-gnu") {
        // Nothing but the C library is left to find on the system.
        flags.extend(["-Clink-arg=-static-libgcc".into()]);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_of_the_machine_is_left() {
        let (checkout, folder) =
            (crate::workspace::root(), crate::workspace::root().join("target/dist/build"));
        let flags = flags(&checkout, &folder, "x86_64-unknown-linux-musl").unwrap();
        assert_eq!(flags.len(), 4);
        assert!(flags.contains(&format!("--remap-path-prefix={}=/gnr", checkout.display())));
        // Of a path below both, the last that fits counts: the folder of the build lies in the checkout.
        assert!(flags[3].ends_with("=/build") && flags[2].ends_with("=/gnr"));
        assert!(host().unwrap().contains('-'));
    }
}
