//! The native half of the Python package `gnr`: gnr-core and gnr-hessian over Python callables.
//!
//! Algorithms are those of the two crates. Here is only what Python needs: arrays in and out, exceptions that pass
//! through an algorithm unchanged, and an interpreter that is held while a callable runs and not while Rust computes.
//! The Python half (`python/gnr`) has the documentation, the dataclasses and the defaults.

mod array;
mod error;
mod hessian;
mod method;
mod objective;
mod operator;
mod registry;
mod theta;

/// `gnr._native`.
#[pyo3::pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::{
        hessian::{check, density, diagonal, lanczos, power_iteration, smoothed, trace},
        method::Plan,
        registry::{entries, resolve, sample_rows, schedule_at},
    };
}
