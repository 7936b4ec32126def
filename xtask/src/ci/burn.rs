//! The stages `burn` and `burn-wgpu`: the backend on burn and the training steps of burn models, by name only, since
//! the builds take minutes.

use std::process::Command;

use crate::workspace::cargo;

/// Formatting, lints, tests, documentation and examples of both crates, the program's run beside the CPU engine's.
pub(super) fn commands() -> Vec<Command> {
    // gnr-burn-train is a workspace of its own with a target folder of its own.
    let on_steps = |command: &str, more: &[&str]| {
        cargo([&[command, "--locked", "--manifest-path", "gnr-burn-train/Cargo.toml"], more].concat())
    };
    let mut doc = on_steps("doc", &["--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        cargo(["fmt", "--check", "--manifest-path", "gnr-burn-train/Cargo.toml"]),
        // Dependencies of the crates are linted in a stage of their own.
        with_program("clippy", "burn", &["--all-targets", "--no-deps", "--", "-D", "warnings"]),
        cargo(["test", "-p", "gnr-burn", "--features", "burn"]),
        with_program("test", "burn", &["--test", "it", "--", "engine", "devices"]),
        on_steps("clippy", &["--all-targets", "--no-deps", "--", "-D", "warnings"]),
        // The tests run the example, too.
        on_steps("test", &[]),
        doc,
    ]
}

/// Lints and tests of the Vulkan backend. They fail on a machine without Vulkan.
pub(super) fn on_vulkan() -> Vec<Command> {
    vec![
        with_program("clippy", "wgpu", &["--all-targets", "--no-deps", "--", "-D", "warnings"]),
        with_program("test", "wgpu", &["--lib", "--test", "it", "--", "vulkan", "lost", "engine", "devices"]),
    ]
}

/// One command for the crate of the backend, for gnr-train and for the program: burn is built once for all three.
fn with_program(command: &str, feature: &str, more: &[&str]) -> Command {
    let features = match feature {
        "wgpu" => "gnr-burn/wgpu,gnr-train/burn-wgpu,gnr-cli/burn-wgpu",
        _ => "gnr-burn/burn,gnr-train/burn,gnr-cli/burn",
    };
    let packages = [command, "-p", "gnr-burn", "-p", "gnr-train", "-p", "gnr-cli", "--features", features];
    cargo([&packages[..], more].concat())
}
