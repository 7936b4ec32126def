//! The specification of runs: recipes, resuming, files, evaluation.
// The configured exception for tests covers the test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod average;
mod collapse;
mod continued;
mod curvature;
mod curvature_folders;
mod engine;
mod evaluation;
mod files;
mod finetune;
mod geometry;
mod identity;
mod label_noise;
mod method;
mod ranks;
mod recipe;
mod resume;
mod smooth;
mod support;
