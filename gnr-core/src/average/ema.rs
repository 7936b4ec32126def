//! Exponential moving average.

use super::{Average, Moving};
use crate::{Checkpoint, Result, StateSink, StateSource, Vector, schedule::validate_constant};

/// An exponential moving average of the points: θ̄ ← d·θ̄ + (1 − d)·θ after each step. Recent points count
/// most: those of the last 1/(1 − d) steps have 63 % of the weight.
///
/// The first point is copied, so the weights of all points add up to 1 and no correction of a bias is needed. (An
/// average that starts at 0 must be divided by 1 − dⁿ, as Adam's moments are.) After n updates the first point has the
/// weight dⁿ⁻¹. Until n is several times 1/(1 − d) the average is mostly the first point: in short runs start it late,
/// or choose a smaller d.
///
/// State: `updates`, `mean`.
///
/// # Cost
/// One vector, and one more during an update.
///
/// # References
/// Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992; Tarvainen
/// and Valpola, "Mean teachers are better role models", NeurIPS 2017 (d = 0.999).
#[derive(Clone, Debug, PartialEq)]
pub struct Ema<V> {
    decay: f64,
    moving: Moving<V>,
}

impl<V> Ema<V> {
    /// An average of decay d that has seen no point yet.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless 0 < d < 1.
    ///
    /// ```
    /// use gnr_core::{Average, Ema};
    /// let mut ema = Ema::new(0.75)?;
    /// for theta in [[8.0], [4.0], [0.0]] {
    ///     ema.update(&theta)?;
    /// }
    /// assert_eq!(ema.mean(), Some(&[0.75 * (0.75 * 8.0 + 0.25 * 4.0)]));
    /// # Ok::<(), gnr_core::Error>(())
    /// ```
    pub fn new(decay: f64) -> Result<Self> {
        validate_constant("decay", decay, |d| d > 0.0 && d < 1.0, "must lie in (0, 1)")?;
        Ok(Self { decay, moving: Moving::default() })
    }
}

impl<V: Vector> Average<V> for Ema<V> {
    fn update(&mut self, theta: &V) -> Result<()> {
        self.moving.update(theta, 1.0 - self.decay)
    }
    fn mean(&self) -> Option<&V> {
        self.moving.mean.as_ref()
    }
    fn updates(&self) -> u64 {
        self.moving.updates
    }
}

impl<V: Vector> Checkpoint<V> for Ema<V> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.moving.save(sink)
    }
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        self.moving.load(source)
    }
}
