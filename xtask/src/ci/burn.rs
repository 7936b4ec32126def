//! The stages `burn` and `burn-wgpu`: the backend on burn and the training steps of burn models, by name only, since
//! the builds take minutes.

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

/// Lints and tests of what computes through Vulkan. A machine without Vulkan fails them.
pub(super) fn on_vulkan() -> Vec<Command> {
    let lints = ["--no-deps", "--", "-D", "warnings"];
    let with_engine = ["-p", "gnr-train", "-p", "gnr-cli", "--features", "burn-wgpu"];
    let on_backend = ["-p", "gnr-burn", "--features", "wgpu"];
    vec![
        cargo([&["clippy", "--all-targets"][..], &on_backend, &lints].concat()),
        cargo([&["test"][..], &on_backend, &["--lib", "--test", "it", "--", "vulkan", "lost"]].concat()),
        cargo([&["clippy"][..], &with_engine, &lints].concat()),
        cargo(["test", "-p", "gnr-train", "--features", "burn-wgpu", "--test", "it", "engine"]),
        cargo(["test", "-p", "gnr-cli", "--features", "burn-wgpu", "--test", "it", "devices"]),
    ]
}
