//! The state that all kernels of a process share, in one place.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use crate::{
    buffer::Heap,
    simd::{Level, detected},
};

/// Recycled memory, the instruction set in use, and the count of arithmetic. There is one in a process.
///
/// Threads are no part of it: kernels split their work on the current rayon pool, which the caller chooses.
pub struct Runtime {
    heap: Mutex<Heap>,
    /// The instruction set in use; 0 before it was first asked for.
    level: AtomicU8,
    multiplications: AtomicU64,
}

static RUNTIME: Runtime =
    Runtime { heap: Mutex::new(Heap::EMPTY), level: AtomicU8::new(0), multiplications: AtomicU64::new(0) };

/// The runtime of this process.
#[inline]
pub fn runtime() -> &'static Runtime {
    &RUNTIME
}

impl Runtime {
    /// The instruction set in use: the machine's highest, or what [`limit_level`](Self::limit_level) allows.
    #[inline]
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            1 => Level::Baseline,
            2 => Level::Avx2,
            3 => Level::Avx512,
            _ => self.limit_level(Level::Avx512),
        }
    }

    /// Restricts all kernels to at most `highest` and returns the level now in use. For tests, and to reproduce another
    /// machine's bits; results of different levels differ by rounding only.
    pub fn limit_level(&self, highest: Level) -> Level {
        let level = highest.min(detected());
        self.level.store(level as u8, Ordering::Relaxed);
        level
    }

    /// Number of multiplications of matrix products and convolutions by all threads since the process started. Each
    /// comes with an addition, so it is two FLOPs.
    ///
    /// A convolution counts what direct summation takes, whatever the algorithm (Winograd's takes fewer). Benchmarks
    /// divide this figure by the time.
    pub fn multiplications(&self) -> u64 {
        self.multiplications.load(Ordering::Relaxed)
    }

    /// Adds to the count of multiplications. One addition a kernel call costs nothing beside the kernel.
    pub(crate) fn count(&self, multiplications: usize) {
        self.multiplications.fetch_add(multiplications as u64, Ordering::Relaxed);
    }

    /// Sets how many bytes of recycled memory may be idle; 4 GiB by default. With `0`, memory is returned to the system
    /// as soon as a buffer is dropped.
    pub fn set_idle_limit(&self, bytes: usize) {
        self.heap().limit = bytes;
    }

    /// The most bytes that buffers held at one time, since the program started or since
    /// [`reset_peak`](Self::reset_peak). Buffers of less than 16 KiB are not counted: they come from the system's
    /// allocator.
    pub fn peak(&self) -> usize {
        self.heap().peak
    }

    /// Sets [`peak`](Self::peak) to the bytes that buffers hold now.
    pub fn reset_peak(&self) {
        let mut heap = self.heap();
        heap.peak = heap.taken;
    }

    /// Returns all idle memory to the system.
    pub fn release_idle(&self) {
        self.heap().release();
        crate::buffer::trim();
    }

    /// Lets the system's allocator keep what this process frees, until [`release_idle`](Self::release_idle). For
    /// libraries that allocate their tensors anew in each step: the system clears memory that it hands out.
    ///
    /// Has an effect with glibc, on blocks of up to 32 MiB.
    pub fn keep_freed(&self) {
        crate::buffer::keep_freed_heaps();
    }

    pub(crate) fn heap(&self) -> MutexGuard<'_, Heap> {
        // A poisoned lock is fine: no code under the lock panics half-way.
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_never_exceeds_the_machine() {
        assert!(Level::Baseline < Level::Avx2 && Level::Avx2 < Level::Avx512);
        assert!(runtime().level() <= detected());
    }

    #[test]
    fn products_are_counted() {
        let before = runtime().multiplications();
        runtime().count(7);
        // Other tests count at the same time.
        assert!(runtime().multiplications() >= before + 7);
    }
}
