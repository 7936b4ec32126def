//! The processes that `mpirun` or `srun` started together, as a [`Collective`](gnr_core::Collective).
//!
//! Feature `mpi` connects the processes through an MPI library. Without the feature [`join`] works for a process by
//! itself, and fails in others with the command that builds the program with MPI.

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
