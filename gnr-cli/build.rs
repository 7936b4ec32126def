//! Passes the commit of the source to the program, when there is a repository to ask.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GNR_COMMIT");
    // A packager's commit takes precedence over that of the repository, which may be the packager's own.
    let told = std::env::var("GNR_COMMIT").ok();
    if told.is_none()
        && let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo::rerun-if-changed={head}");
    }
    if let Some(commit) = told.or_else(|| git(&["rev-parse", "--short=12", "HEAD"])) {
        println!("cargo::rustc-env=GNR_COMMIT={commit}");
        println!("cargo::rustc-env=GNR_VERSION={}, commit {commit}", env!("CARGO_PKG_VERSION"));
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}
