//! A count of the arithmetic that kernels were asked for: multiplications of matrix products and convolutions, by
//! definition.
//!
//! A convolution counts what direct summation takes, whatever the algorithm (Winograd's takes fewer). Benchmarks divide
//! this figure by the time. Adding to one counter per kernel call costs nothing beside the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

static MULTIPLICATIONS: AtomicU64 = AtomicU64::new(0);

/// Number of multiplications by all threads since the process started; each comes with an addition, so it is two FLOPs.
pub fn multiplications() -> u64 {
    MULTIPLICATIONS.load(Ordering::Relaxed)
}

/// Adds to the count of multiplications.
pub(super) fn count(multiplications: usize) {
    MULTIPLICATIONS.fetch_add(multiplications as u64, Ordering::Relaxed);
}
