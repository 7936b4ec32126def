//! A part of a mini-batch, and the oracles that can answer for one.

use super::GradOracle;
use crate::{Result, random::SplitMix64};

/// A seeded sample of a mini-batch, drawn without replacement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The fraction of the examples, in (0, 1].
    pub fraction: f64,
    /// Seed of the draw: equal seeds draw equal examples.
    pub seed: u64,
}

impl Sample {
    /// The examples drawn out of `n`, in ascending order: `fraction`·n of them, rounded, and at least one.
    ///
    /// ```
    /// let sample = gnr_core::Sample { fraction: 0.25, seed: 7 };
    /// let rows = sample.rows(128);
    /// assert_eq!(rows.len(), 32);
    /// assert!(rows.is_sorted() && rows.iter().all(|&row| row < 128));
    /// assert_eq!(rows, sample.rows(128));
    /// ```
    pub fn rows(&self, n: usize) -> Vec<usize> {
        let count = ((self.fraction * n as f64).round() as usize).clamp(n.min(1), n);
        let mut random = SplitMix64::new(self.seed);
        let mut rows: Vec<usize> = (0..n).collect();
        for i in 0..count {
            let j = i + (random.uniform() * (n - i) as f64) as usize;
            rows.swap(i, j.min(n - 1));
        }
        rows.truncate(count);
        rows.sort_unstable();
        rows
    }
}

/// A [`GradOracle`] that can answer for a part of its batch.
pub trait SampledOracle: GradOracle {
    /// From now on L̂ is the mean loss over a sample of the batch, or over all of it again (`None`). An evaluation belongs to the
    /// L̂ it was made of: products at its point need the same sample. [`OnSample`](crate::OnSample) asks for it.
    ///
    /// # Errors
    /// A failure of the backend.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()>;
}
