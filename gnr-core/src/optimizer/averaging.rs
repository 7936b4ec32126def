//! Common part of the schedule-free methods: a point z that steps, and a weighted mean x of its path.

use crate::{
    Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::{bad_leaf, required_count},
};

/// The sum of the weights γ², and β, which says how far θ lies from z towards x.
///
/// Gradients are taken at θ = βx + (1 − β)z. Therefore x need not be kept: x = θ/β + (1 − 1/β)z.
#[derive(Clone, Debug)]
pub(super) struct Averaging {
    beta: f64,
    weights: f64,
}

impl Averaging {
    pub(super) const fn new(beta: f64) -> Self {
        Self { beta, weights: 0.0 }
    }

    /// Makes a step `z ← z − γd`, `x ← (1 − c)x + cz` with c = γ²/Σγ², `θ ← βx + (1 − β)z`, in the
    /// memory of θ and z alone: x is never formed.
    pub(super) fn step<V: Vector>(&mut self, theta: &mut V, z: &mut V, d: &V, gamma: f64) -> Result<()> {
        self.weights += gamma * gamma;
        let share = if self.weights > 0.0 { gamma * gamma / self.weights } else { 0.0 };
        theta.scale(1.0 - share)?;
        theta.axpys(&[share, gamma * (self.beta * (1.0 - share) - 1.0)], &[z, d])?;
        z.axpy(-gamma, d)
    }

    /// The mean x, computed from θ and z.
    pub(super) fn mean<V: Vector>(&self, theta: &V, z: &V) -> Result<V> {
        let mut x = z.clone();
        x.scale(1.0 - 1.0 / self.beta)?;
        x.axpy(1.0 / self.beta, theta)?;
        Ok(x)
    }

    /// Saves the sum of the weights as its bits, so that a resumed run has the exact value.
    pub(super) fn save<V>(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        sink.put("weight_sum", Leaf::Count(self.weights.to_bits()))
    }

    /// Reads the sum from a checkpoint; `self` is unchanged.
    pub(super) fn read<V>(&self, source: &mut dyn StateSource<V>) -> Result<Self> {
        let weights = f64::from_bits(required_count(source, "weight_sum")?);
        if weights >= 0.0 && weights.is_finite() {
            Ok(Self { beta: self.beta, weights })
        } else {
            Err(bad_leaf(
                "weight_sum",
                format!("{weights}, expected the bits of a number that is 0 or larger"),
            ))
        }
    }
}
