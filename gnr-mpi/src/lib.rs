//! The processes that `mpirun` or `srun` started together, as a [`Collective`](gnr_core::Collective).
//!
//! With feature `mpi` it talks to an MPI library. Without the feature [`join`] works for a process by itself, and tells
//! others what to build.

mod launch;
#[cfg(feature = "mpi")]
mod ranks;
#[cfg(feature = "mpi")]
mod service;

pub use launch::{Job, join, launched};
#[cfg(feature = "mpi")]
pub use ranks::PATIENCE;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
