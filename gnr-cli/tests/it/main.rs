//! The real program: exit codes, messages, signals, what is left on disk.
// The configured exception for tests covers the test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bad_input;
mod commands;
mod compare;
mod curvature;
mod interruption;
mod reproduce;
mod signals;
mod support;
mod sweep;
mod weights;
