//! The real program: exit codes, messages, signals, what is left on disk.

mod bad_input;
mod commands;
mod signals;
mod support;
