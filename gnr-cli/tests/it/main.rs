//! The real program: exit codes, messages, signals, and the files that it leaves.
// The configured exception for tests covers the test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bad_input;
#[cfg(target_os = "linux")]
mod bad_table;
mod commands;
mod compare;
mod compare_failures;
mod curvature;
mod devices;
mod disk;
mod inputs;
mod interruption;
mod jobs;
mod killed;
mod reproduce;
mod settings;
mod signals;
mod slurm;
mod support;
mod sweep;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod watch;
mod weights;
