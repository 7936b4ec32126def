//! What the schedule-free methods share: a point z that steps, and a weighted mean x of where it was.

use crate::{
    Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::{bad_leaf, required_count},
};

/// The sum of the weights γ², and how far θ lies from z towards x.
///
/// θ = βx + (1 − β)z is what gradients are taken at, so that x need not be kept: x = θ/β + (1 − 1/β)z.
#[derive(Clone, Debug)]
pub(super) struct Averaging {
    beta: f64,
    weights: f64,
}

impl Averaging {
    pub(super) const fn new(beta: f64) -> Self {
        Self { beta, weights: 0.0 }
    }

    /// `z ← z − γd`, `x ← (1 − c)x + cz` with c = γ²/Σγ², `θ ← βx + (1 − β)z`: θ and z alone, in two passes.
    pub(super) fn step<V: Vector>(&mut self, theta: &mut V, z: &mut V, d: &V, gamma: f64) -> Result<()> {
        self.weights += gamma * gamma;
        let share = if self.weights > 0.0 { gamma * gamma / self.weights } else { 0.0 };
        theta.scale(1.0 - share)?;
        theta.axpys(&[share, gamma * (self.beta * (1.0 - share) - 1.0)], &[z, d])?;
        z.axpy(-gamma, d)
    }

    /// x.
    pub(super) fn mean<V: Vector>(&self, theta: &V, z: &V) -> Result<V> {
        let mut x = z.clone();
        x.scale(1.0 - 1.0 / self.beta)?;
        x.axpy(1.0 / self.beta, theta)?;
        Ok(x)
    }

    /// The sum of the weights as the bits of a number, so that a resumed run has it exactly.
    pub(super) fn save<V>(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        sink.put("weight_sum", Leaf::Count(self.weights.to_bits()))
    }

    /// Reads the sum, and changes nothing.
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
