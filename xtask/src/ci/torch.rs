//! The stage `torch`: the backend on LibTorch, by name only, since the download and the build take minutes.

use std::process::Command;

use crate::{libtorch::with_libtorch, workspace::cargo};

/// LibTorch, lints, the crate's tests and examples, the program's run beside the CPU engine's.
pub(super) fn commands() -> Vec<Command> {
    let with = |arguments: &[&str]| with_libtorch(cargo(arguments));
    let crate_alone = ["-p", "gnr-torch", "--features", "libtorch"];
    let on_crate = |command: &str, more: &[&str]| with(&[&[command][..], &crate_alone, more].concat());
    vec![
        cargo(["xtask", "libtorch"]),
        // Dependencies of the crate are linted in a stage of their own.
        on_crate("clippy", &["--all-targets", "--no-deps", "--", "-D", "warnings"]),
        on_crate("test", &[]),
        on_crate("run", &["--example", "torch_module"]),
        on_crate("run", &["--example", "torchscript"]),
        with(&[
            "clippy",
            "-p",
            "gnr-train",
            "-p",
            "gnr-cli",
            "--features",
            "torch",
            "--no-deps",
            "--",
            "-D",
            "warnings",
        ]),
        with(&["test", "-p", "gnr-train", "--features", "torch", "--test", "it", "engine"]),
        with(&["test", "-p", "gnr-cli", "--features", "torch", "--test", "it", "devices"]),
    ]
}
