//! Specification of runs: recipes, resuming, files, evaluation.

mod evaluation;
mod files;
mod method;
mod recipe;
mod resume;
mod support;
