//! Workers that stay awake between the kernels of a pass.
//!
//! A rayon worker without work looks for some about 32 times, in 20 µs, and goes to sleep. Waking it costs the thread
//! with work as much as a small kernel, and the worker comes late. rayon has no setting for that. So a pass asks the
//! other workers of its pool to go on looking for `LINGER` after the last piece of work they found. Meanwhile they
//! yield the processor to other programs.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rayon::Yield;

/// How long a worker without work goes on looking for some.
const LINGER: Duration = Duration::from_micros(100);

thread_local! {
    /// Number of workers that the passes of this worker keep awake.
    static AWAKE: RefCell<Arc<AtomicUsize>> = RefCell::default();
}

/// Keeps the other workers of the current pool awake until they have found no work for `LINGER`. Called at the start
/// of a pass, and by operations on vectors between passes. Costs next to nothing if the workers are awake, or outside a
/// pool.
pub fn keep_awake() {
    let (Some(leader), others) = (rayon::current_thread_index(), rayon::current_num_threads() - 1) else {
        return;
    };
    let awake = AWAKE.with_borrow(Arc::clone);
    if others == 0 || awake.load(Ordering::Relaxed) > 0 {
        return;
    }
    awake.store(others, Ordering::Relaxed);
    rayon::spawn_broadcast(move |worker| {
        if worker.index() != leader {
            linger();
            awake.fetch_sub(1, Ordering::Relaxed);
        }
    });
}

/// Runs available work until there has been none for `LINGER`.
fn linger() {
    let mut last = Instant::now();
    loop {
        match rayon::yield_now() {
            Some(Yield::Executed) => last = Instant::now(),
            Some(Yield::Idle) if last.elapsed() < LINGER => std::thread::yield_now(),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    fn sum() -> u64 {
        (0..10_000_u64).collect::<Vec<_>>().par_chunks(100).map(|numbers| numbers.iter().sum::<u64>()).sum()
    }

    #[test]
    fn work_is_done_with_every_number_of_threads_and_outside_a_pool() {
        for threads in 1..=4 {
            let found = on_threads(threads, || {
                (0..200)
                    .map(|_| {
                        keep_awake();
                        sum()
                    })
                    .all(|found| found == 49_995_000)
            });
            assert!(found, "{threads}");
        }
        keep_awake();
        assert_eq!(sum(), 49_995_000);
    }

    /// Each worker leads a pass at the same time, and waits for work that the others took: nobody may wait for a
    /// lingering worker.
    #[test]
    fn passes_in_one_pool_at_the_same_time_end() {
        on_threads(3, || {
            let sums: Vec<u64> = (0..300_usize)
                .into_par_iter()
                .map(|_| {
                    keep_awake();
                    sum() + sum()
                })
                .collect();
            assert!(sums.iter().all(|found| *found == 2 * 49_995_000));
        });
    }

    #[test]
    fn workers_fall_asleep_again() {
        on_threads(2, || {
            keep_awake();
            let awake = AWAKE.with_borrow(Arc::clone);
            assert_eq!(awake.load(Ordering::Relaxed), 1);
            let start = Instant::now();
            while awake.load(Ordering::Relaxed) > 0 {
                assert!(start.elapsed() < Duration::from_secs(60), "the other worker still looks for work");
                std::thread::yield_now();
            }
            assert!(start.elapsed() >= LINGER / 2);
        });
    }
}
