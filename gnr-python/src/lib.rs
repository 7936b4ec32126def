//! The native half of the Python package `gnr`: gnr-core and gnr-hessian over Python callables.
//!
//! The algorithms are those of the two crates. This crate has only what Python needs: conversion of arrays, and
//! exceptions that pass through an algorithm unchanged. The interpreter is held while a callable runs, and released
//! while Rust computes. The Python half (`python/gnr`) has the documentation, the dataclasses and the defaults.

mod array;
mod error;
mod hessian;
mod method;
mod objective;
mod operator;
mod registry;
mod theta;

/// The Python module `gnr._native`.
#[pyo3::pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::{
        hessian::{check, density, diagonal, lanczos, power_iteration, smoothed, trace},
        method::Plan,
        registry::{entries, resolve, sample_rows, schedule_at},
    };
}
