//! What the data crate promises, one module a topic. Layouts are tested on small generated trees with every kind of
//! damage, and on real data where it is installed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod archives;
mod augment;
mod bad_inputs;
mod batch;
mod cifar;
mod digits;
#[cfg(feature = "fetch")]
mod fetch;
mod folder;
mod idx;
mod imagenet;
mod images;
#[cfg(feature = "fetch")]
mod killed;
mod label_noise;
mod layouts;
mod loader;
mod names;
mod real;
mod registry;
mod resample;
#[cfg(feature = "fetch")]
mod server;
mod split;
mod transforms;
mod trees;
mod verify;
