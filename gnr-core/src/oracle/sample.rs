//! Samples of a mini-batch, and the oracles that can answer for one.

use super::GradOracle;
use crate::{Result, collective::Part, random::SplitMix64};

/// A seeded sample of a mini-batch, drawn without replacement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The fraction of the examples, in (0, 1].
    pub fraction: f64,
    /// Seed of the draw: equal seeds draw equal examples.
    pub seed: u64,
    /// The part of the batch that the oracle has; the sample is drawn from the whole batch. `None`: the oracle has all
    /// of it.
    pub part: Option<Part>,
}

impl Sample {
    /// A sample of a batch that the oracle has as a whole.
    pub fn new(fraction: f64, seed: u64) -> Self {
        Self { fraction, seed, part: None }
    }

    /// The examples of the sample that lie in a part of the batch.
    pub fn of_part(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// The examples drawn out of `n`, in ascending order: `fraction`·n of them, rounded, and at least one.
    ///
    /// With a [`part`](Sample::part), `n` is the number of examples of the part. The rows are those of the whole
    /// batch's sample that lie in the part, counted from its start. If there are none, row 0 is returned in their
    /// place, and [`count_in`](Self::count_in) is 0.
    ///
    /// ```
    /// use gnr_core::{Sample, collective::Part};
    /// let sample = Sample::new(0.25, 7);
    /// let rows = sample.rows(128);
    /// assert_eq!(rows.len(), 32);
    /// assert!(rows.is_sorted() && rows.iter().all(|&row| row < 128));
    /// assert_eq!(rows, sample.rows(128));
    /// let last = sample.of_part(Part { start: 100, len: 28, of: 128 }).rows(28);
    /// assert!(last.iter().all(|row| rows.contains(&(row + 100))));
    /// ```
    pub fn rows(&self, n: usize) -> Vec<usize> {
        match self.part {
            None => self.drawn(n),
            Some(part) => match self.inside(part) {
                none if none.is_empty() => (0..n.min(1)).collect(),
                some => some,
            },
        }
    }

    /// Number of examples of the sample in a part of the batch.
    pub fn count_in(&self, part: Part) -> usize {
        self.inside(part).len()
    }

    fn inside(&self, Part { start, len, of }: Part) -> Vec<usize> {
        let rows = self.drawn(of).into_iter().filter(|row| (start..start + len).contains(row));
        rows.map(|row| row - start).collect()
    }

    fn drawn(&self, n: usize) -> Vec<usize> {
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
    /// Makes L̂ the mean loss over a sample of the batch, or over all of it again (`None`). An evaluation belongs to
    /// the L̂ under which it was made: products at its point need an equal sample. [`OnSample`](crate::OnSample) calls
    /// this.
    ///
    /// # Errors
    /// A failure of the backend.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()>;
}
