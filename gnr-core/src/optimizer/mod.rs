//! Optimisers: how θ moves along a direction. One file each; the learning rate is an argument of the step.

mod adam;
mod adam_w;
mod grouped;
mod moments;
mod sgd;

pub use adam::Adam;
pub use adam_w::AdamW;
pub use grouped::Grouped;
pub use sgd::Sgd;

use crate::{Checkpoint, Result, Vector};

/// Moves θ along a direction. The only place where θ changes.
pub trait Optimizer<V: Vector>: Checkpoint<V> {
    /// `theta ← theta − lr·(what this optimiser makes of direction)`.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()>;
}

impl<V: Vector, P: Checkpoint<V> + ?Sized> Checkpoint<V> for Box<P> {
    fn save(&self, sink: &mut dyn crate::StateSink<V>) -> Result<()> {
        (**self).save(sink)
    }
    fn load(&mut self, source: &mut dyn crate::StateSource<V>) -> Result<()> {
        (**self).load(source)
    }
}

impl<V: Vector, P: Optimizer<V> + ?Sized> Optimizer<V> for Box<P> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        (**self).step(theta, direction, lr)
    }
}
