//! Exchanges of a forward pass with the other ranks that have parts of its batch.

use std::{fmt, sync::Arc};

use gnr_core::{Collective, Result as CoreResult, Sample, Shares, collective::Packed};

use crate::{Error, Result};

/// The ranks that share a batch, for operations over all of it: see
/// [`Arithmetic::mean_over_ranks`](crate::Arithmetic::mean_over_ranks) and
/// [`Normalisation::batch_norm_over_ranks`](crate::Normalisation::batch_norm_over_ranks).
#[derive(Clone)]
pub struct AcrossRanks {
    ranks: Arc<dyn Collective>,
    /// The weight of each rank in a mean over the batch.
    weights: Arc<[f64]>,
    /// The number of examples of all ranks together.
    examples: usize,
}

impl AcrossRanks {
    /// Takes means over the whole batch, whose parts are `shares`.
    pub fn new(shares: &Shares) -> Self {
        let examples = shares.examples().iter().sum();
        Self { ranks: Arc::clone(shares.ranks()), weights: shares.weights().into(), examples }
    }
    /// Takes means over a sample of the batch.
    pub fn of_sample(shares: &Shares, sample: Sample) -> Self {
        let whole = Self::new(shares);
        let examples = Sample { part: None, ..sample }.rows(whole.examples).len();
        Self { weights: shares.weights_in(sample).into(), examples, ..whole }
    }
    /// Takes means over `rows[r]` examples of each rank r.
    pub(crate) fn of_rows(shares: &Shares, rows: &[usize]) -> Self {
        let examples: usize = rows.iter().sum();
        let weights = rows.iter().map(|rows| *rows as f64 / examples as f64).collect();
        Self { ranks: Arc::clone(shares.ranks()), weights, examples }
    }
    /// The number of examples of all ranks together.
    pub fn examples(&self) -> usize {
        self.examples
    }
    /// The weighted mean Σ wᵣ·xᵣ over the ranks, where wᵣ is rank r's share of the examples.
    ///
    /// # Errors
    /// The errors of the collective.
    pub fn mean(&self, own: Packed) -> CoreResult<Packed> {
        self.ranks.mean(own, &self.weights)
    }
    /// Gathers equally many numbers from every rank, in rank order, each list with the rank's weight wᵣ.
    ///
    /// # Errors
    /// The errors of the collective.
    pub fn all(&self, own: &[f64]) -> CoreResult<Vec<(f64, Vec<f64>)>> {
        Ok(self.weights.iter().copied().zip(self.ranks.scalars(own)?).collect())
    }
    /// Ends all ranks because of an error in a pass that the others are still in.
    pub(crate) fn abort(&self, error: &Error) {
        self.ranks.abort(&error.to_string());
    }
}

impl fmt::Debug for AcrossRanks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcrossRanks").field("weights", &self.weights).finish()
    }
}

/// The error of a backend whose sessions know no other ranks.
pub(crate) fn unsupported<T>() -> Result<T> {
    Err(Error::Invalid(
        "this backend cannot take means over ranks: let each rank's BatchNorm have its own statistics".into(),
    ))
}
