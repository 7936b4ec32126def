//! Stochastic weight averaging.

use super::{Average, Moving};
use crate::{Checkpoint, Result, StateSink, StateSource, Vector};

/// The mean of all points given to it, each with equal weight: θ̄ ← θ̄ + (θ − θ̄)/(n + 1) after n points.
///
/// The points are those at the ends of late epochs, of a run whose learning rate stays large enough to move between
/// them. BatchNorm's running statistics belong to θ and do not fit the averaged weights: they have to be measured at
/// θ̄.
///
/// State: `updates`, `mean`.
///
/// # Cost
/// One vector, and one more during an update.
///
/// # References
/// Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018, Algorithm 1.
///
/// ```
/// use gnr_core::{Average, Swa};
/// let mut swa = Swa::new();
/// for theta in [[1.0], [2.0], [6.0]] {
///     swa.update(&theta)?;
/// }
/// assert_eq!((swa.mean(), swa.updates()), (Some(&[3.0]), 3));
/// # Ok::<(), gnr_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Swa<V> {
    moving: Moving<V>,
}

impl<V> Swa<V> {
    /// An average that has seen no point yet.
    pub fn new() -> Self {
        Self { moving: Moving::default() }
    }
}

impl<V> Default for Swa<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Vector> Average<V> for Swa<V> {
    fn update(&mut self, theta: &V) -> Result<()> {
        self.moving.update(theta, 1.0 / (self.moving.updates + 1) as f64)
    }
    fn mean(&self) -> Option<&V> {
        self.moving.mean.as_ref()
    }
    fn updates(&self) -> u64 {
        self.moving.updates
    }
}

impl<V: Vector> Checkpoint<V> for Swa<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.moving.save(sink)
    }
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        self.moving.load(source)
    }
}
