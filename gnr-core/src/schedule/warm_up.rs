//! A linear start before another schedule.

use super::Schedule;

/// The value inner(0)·(t + 1)/(steps + 1) for t < steps, then inner(t − steps).
///
/// Boundaries: the first value is positive (no step is wasted on a learning rate of 0); `at(steps) = inner.at(0)`,
/// reached in `steps` equal increments. The inner schedule starts counting at 0 after the warm-up, so a cosine over a
/// run of T steps has `total = T − steps`. `steps = 0` is no warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp<S> {
    /// Length of the warm-up, in steps; 0 is none.
    pub steps: u64,
    /// The schedule that follows the warm-up.
    pub inner: S,
}

impl<S: Schedule> WarmUp<S> {
    /// Puts `steps` steps of warm-up before `inner`.
    pub fn new(steps: u64, inner: S) -> Self {
        Self { steps, inner }
    }
}

impl<S: Schedule> Schedule for WarmUp<S> {
    fn at(&self, t: u64) -> f64 {
        match t.checked_sub(self.steps) {
            Some(after) => self.inner.at(after),
            None => self.inner.at(0) * ((t as f64 + 1.0) / (self.steps as f64 + 1.0)),
        }
    }
}
