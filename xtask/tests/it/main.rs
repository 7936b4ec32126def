//! The task program as a user runs it: the rules hold on this repository.
#![cfg(unix)]
// A test's helpers fail by panicking, as its assertions do.
#![allow(clippy::unwrap_used)]

mod tidy;

use std::process::{Command, Output};

/// `cargo xtask ARGUMENTS`.
fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).env_remove("GNR_PROGRAM").output().unwrap()
}

/// Standard output and standard error, one after the other.
fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
