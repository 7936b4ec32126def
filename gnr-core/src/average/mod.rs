//! Averages of the points that training passes through. One file each.

mod ema;
mod swa;

pub use ema::Ema;
pub use swa::Swa;

use crate::{
    Checkpoint, Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::{bad_leaf, optional_vector, required_count},
    vector::same_dim,
};

/// A weighted mean of the points that [`update`](Self::update) was given. Training does not depend on it.
///
/// # Cost
/// One vector, and one more during an update.
pub trait Average<V: Vector>: Checkpoint<V> {
    /// Adds a point to the mean. The first one is copied.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend; the average is then unchanged.
    fn update(&mut self, theta: &V) -> Result<()>;
    /// The mean θ̄; `None` before the first update.
    fn mean(&self) -> Option<&V>;
    /// Number of updates so far.
    fn updates(&self) -> u64;
}

/// A mean that moves towards each new point: θ̄ ← θ̄ + share·(θ − θ̄).
#[derive(Clone, Debug, PartialEq)]
struct Moving<V> {
    updates: u64,
    mean: Option<V>,
}

impl<V> Default for Moving<V> {
    fn default() -> Self {
        Self { updates: 0, mean: None }
    }
}

impl<V: Vector> Moving<V> {
    /// Moves the mean by `share` of its distance to `theta`. In this form a coordinate that does not change, such as a
    /// frozen layer's statistic, keeps its bits.
    fn update(&mut self, theta: &V, share: f64) -> Result<()> {
        match &mut self.mean {
            Some(mean) => {
                same_dim("average", mean.dim(), theta.dim())?;
                let mut ahead = theta.clone();
                ahead.axpy(-1.0, mean)?;
                ahead.aypx(share, mean)?;
                *mean = ahead;
            }
            none => *none = Some(theta.clone()),
        }
        self.updates += 1;
        Ok(())
    }

    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        sink.put("updates", Leaf::Count(self.updates))?;
        self.mean.as_ref().map_or(Ok(()), |mean| sink.put("mean", Leaf::Vector(mean)))
    }

    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let updates = required_count(source, "updates")?;
        let mean = optional_vector(source, "mean")?;
        match (updates, &mean) {
            (0, None) | (1.., Some(_)) => {}
            (0, Some(_)) => return Err(bad_leaf("updates", "0, but there is a mean")),
            (_, None) => return Err(bad_leaf("mean", format!("missing after {updates} updates"))),
        }
        *self = Self { updates, mean };
        Ok(())
    }
}
