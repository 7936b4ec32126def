//! The thread pool that a run computes on.

use std::thread::available_parallelism;

use crate::{Result, error::TrainError};

/// The number of threads that was asked for; for 0, the number of cores.
pub(crate) fn threads(asked: usize) -> usize {
    if asked > 0 { asked } else { available_parallelism().map_or(1, usize::from) }
}

/// Does the work on a pool of exactly this many threads.
pub(crate) fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| TrainError::Threads { threads, reason: error.to_string() })?;
    Ok(pool.install(work))
}
