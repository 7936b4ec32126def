//! How much arithmetic the kernels were asked for: multiplications of matrix products and convolutions, counted by definition.
//!
//! A convolution counts what direct summation takes, whatever the algorithm (Winograd's takes fewer): the figure that benchmarks divide by the
//! time. Adding to one counter per kernel call costs nothing beside the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

static MULTIPLICATIONS: AtomicU64 = AtomicU64::new(0);

/// Multiplications (each with its addition: two FLOPs) since the process started, all threads together.
pub fn multiplications() -> u64 {
    MULTIPLICATIONS.load(Ordering::Relaxed)
}

/// Adds to the count.
pub(super) fn count(multiplications: usize) {
    MULTIPLICATIONS.fetch_add(multiplications as u64, Ordering::Relaxed);
}
