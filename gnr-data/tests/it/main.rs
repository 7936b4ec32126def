//! The promises of the data crate, one module a topic. Layouts are tested on small generated trees with every kind of
//! damage, and on real data on request.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

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
