//! The time that a rank spends in exchanges with the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gnr_core::{Collective, Result, collective::Packed};

/// A collective that measures the time of its operations.
pub(crate) struct Timed {
    inner: Arc<dyn Collective>,
    spent: Arc<Spent>,
}

/// The time of all operations: waiting for the last rank, the transport, and the sums.
#[derive(Default)]
pub(crate) struct Spent(AtomicU64);

impl Spent {
    /// The time that operations have taken so far.
    pub(crate) fn so_far(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Timed {
    pub(crate) fn new(inner: Arc<dyn Collective>, spent: Arc<Spent>) -> Self {
        Self { inner, spent }
    }

    fn timed<T>(&self, exchange: impl FnOnce(&dyn Collective) -> T) -> T {
        let started = Instant::now();
        let done = exchange(self.inner.as_ref());
        self.spent.0.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }
}

impl Collective for Timed {
    fn rank(&self) -> usize {
        self.inner.rank()
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        self.timed(|ranks| ranks.gather(own, counts))
    }
    fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        self.timed(|ranks| ranks.exchange(own, counts))
    }
    fn mean(&self, own: Packed, weights: &[f64]) -> Result<Packed> {
        self.timed(|ranks| ranks.mean(own, weights))
    }
    fn abort(&self, why: &str) {
        self.inner.abort(why);
    }
}

#[cfg(test)]
mod tests {
    use gnr_core::Solo;

    use super::*;

    #[test]
    fn every_exchange_is_timed() {
        struct Slow;
        impl Collective for Slow {
            fn rank(&self) -> usize {
                0
            }
            fn size(&self) -> usize {
                1
            }
            fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(2) {
                    std::hint::spin_loop();
                }
                Solo.gather(own, counts)
            }
            fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
                self.gather(own, counts)
            }
            fn mean(&self, own: Packed, _: &[f64]) -> Result<Packed> {
                let count = own.len();
                self.gather(own, &[count])
            }
            fn abort(&self, _: &str) {}
        }
        let spent = Arc::new(Spent::default());
        let ranks = Timed::new(Arc::new(Slow), Arc::clone(&spent));
        assert_eq!(spent.so_far(), Duration::ZERO);
        let numbers = || Packed::Double(vec![1.5, 2.5]);
        let operations: [&dyn Fn() -> Result<Packed>; 3] =
            [&|| ranks.gather(numbers(), &[2]), &|| ranks.exchange(numbers(), &[2]), &|| {
                ranks.mean(numbers(), &[1.0])
            }];
        for operation in operations {
            let (before, started) = (spent.so_far(), Instant::now());
            assert_eq!(operation().unwrap(), numbers());
            let (counted, took) = (spent.so_far() - before, started.elapsed());
            assert!(counted >= Duration::from_millis(2) && counted <= took, "{counted:?} of {took:?}");
        }
        // An operation that consists of others.
        assert_eq!(ranks.messages(vec![1, 2]).unwrap(), [[1, 2]]);
        assert!(spent.so_far() >= Duration::from_millis(10));
    }
}
