//! The stage `burn`: the backend on burn and the training steps of burn models, by name only, since the build takes
//! minutes.

use std::process::Command;

use crate::workspace::cargo;

/// Formatting, lints, tests, documentation and examples of both crates, the program's run beside the CPU engine's.
pub(super) fn commands() -> Vec<Command> {
    let on_backend = |command: &str, more: &[&str]| {
        cargo([&[command, "-p", "gnr-burn", "--features", "burn"], more].concat())
    };
    // A workspace of its own, whose target folder is its own, too.
    let on_steps = |command: &str, more: &[&str]| {
        cargo([&[command, "--locked", "--manifest-path", "gnr-burn-train/Cargo.toml"], more].concat())
    };
    let with_engine = ["-p", "gnr-train", "-p", "gnr-cli", "--features", "burn", "--no-deps"];
    let lints = ["--", "-D", "warnings"];
    let mut doc = on_steps("doc", &["--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        cargo(["fmt", "--check", "--manifest-path", "gnr-burn-train/Cargo.toml"]),
        // What the crates are built on has a stage of its own.
        on_backend("clippy", &[&["--all-targets", "--no-deps"], &lints[..]].concat()),
        on_backend("test", &[]),
        on_steps("clippy", &[&["--all-targets", "--no-deps"], &lints[..]].concat()),
        // The tests run the example, too.
        on_steps("test", &[]),
        doc,
        cargo([&["clippy"], &with_engine[..], &lints].concat()),
        cargo(["test", "-p", "gnr-train", "--features", "burn", "--test", "it", "engine"]),
        cargo(["test", "-p", "gnr-cli", "--features", "burn", "--test", "it", "devices"]),
    ]
}
