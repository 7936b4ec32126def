//! The examples of a batch one by one: losses, logits, and products with their transposed Jacobian.

use gnr_core::{
    Error as CoreError, ExampleOracle, OutputOracle, Outputs, Point, Quantity, Result as CoreResult, Shares,
    checked_share, nothing_committed,
};

use super::{Batch, BatchOracle, CrossEntropy};
use crate::{AcrossRanks, Autodiff, Error, Model, ParamVector, Result};

impl<M: Model, B: Autodiff> BatchOracle<'_, M, B> {
    /// The logits of the present part of the batch at a point, or those of the committed pass.
    fn logits(&self, at: Point<'_, ParamVector<B>>) -> CoreResult<Outputs> {
        match at {
            Point::Committed => self.committed.clone().ok_or_else(nothing_committed),
            Point::At(at) => {
                self.check("outputs", at)?;
                let logits = self.with_passes(|passes| passes.outputs(at))?;
                rows_of(logits, self.present().labels.len())
            }
        }
    }
}

impl<'a, M: Model, B: Autodiff> BatchOracle<'a, M, B> {
    fn select_on_ranks(&mut self, shares: &'a Shares, rows: Option<&[usize]>) -> CoreResult<f64> {
        let Some(rows) = rows else {
            self.take_up(None)?;
            self.across = self.across.as_ref().map(|_| AcrossRanks::new(shares));
            return Ok(1.0);
        };
        let counts = shares.ranks().scalars(&[rows.len() as f64])?;
        let counts: Vec<usize> = counts.iter().flatten().map(|count| *count as usize).collect();
        let own = if rows.is_empty() { &[0] } else { rows };
        checked_share(Some(own), self.batch.labels.len())?;
        if counts.iter().sum::<usize>() == 0 {
            return Err(CoreError::Oracle("a selection without examples".into()));
        }
        self.take_up(Some(own))?;
        self.across = self.across.as_ref().map(|_| AcrossRanks::of_rows(shares, &counts));
        Ok(rows.len() as f64 / self.batch.labels.len() as f64)
    }
}

impl<M: Model, B: Autodiff> ExampleOracle for BatchOracle<'_, M, B> {
    fn losses(&mut self, at: Point<'_, Self::Vector>) -> CoreResult<Vec<f64>> {
        let logits = self.logits(at)?;
        let batch = if at.is_probe() { self.present() } else { self.batch };
        let losses = losses(&logits, batch, self.loss)?;
        match losses.iter().find(|loss| !loss.is_finite()) {
            Some(&value) => Err(CoreError::NonFinite { quantity: Quantity::Loss, value }),
            None => Ok(losses),
        }
    }

    /// Selects rows. Where ranks share the batch, the rows are this rank's and all ranks select together. A rank that
    /// has none of the rows answers for one row, which does not count.
    fn select(&mut self, rows: Option<&[usize]>) -> CoreResult<f64> {
        if let Some(shares) = self.shares.filter(|shares| shares.ranks().size() > 1) {
            return self.select_on_ranks(shares, rows);
        }
        let share = checked_share(rows, self.batch.labels.len())?;
        // All rows in order need no copy.
        let part = rows.filter(|rows| !rows.iter().copied().eq(0..self.batch.labels.len()));
        self.take_up(part)?;
        Ok(share)
    }
}

/// The outputs of a classifier are its logits.
impl<M: Model, B: Autodiff> OutputOracle for BatchOracle<'_, M, B> {
    fn outputs(&mut self, at: Point<'_, Self::Vector>) -> CoreResult<Outputs> {
        self.logits(at)
    }

    fn pull_back(&mut self, at: &Self::Vector, u: &Outputs) -> CoreResult<Self::Vector> {
        self.check("pull_back", at)?;
        Ok(self.with_passes(|passes| passes.pull_back(at, u.values(), [u.num_rows(), u.width()]))?)
    }

    fn examples(&self) -> CoreResult<Vec<u64>> {
        let batch = self.present();
        let unknown = |why: &str| {
            CoreError::Oracle(format!("which example of the data set each row of the batch is: {why}"))
        };
        match &batch.examples {
            _ if batch.mixed.is_some() => Err(unknown("a blended row (mixup, CutMix) is of two examples")),
            None => Err(unknown("not known (Batch::with_examples tells)")),
            Some(examples) if examples.len() != batch.labels.len() => {
                let (found, expected) = (examples.len(), batch.labels.len());
                Err(unknown(&format!("{found} numbers for {expected} rows")))
            }
            Some(examples) => Ok(examples.clone()),
        }
    }
}

/// The logits as outputs of `rows` rows.
pub(super) fn rows_of(logits: Vec<f64>, rows: usize) -> CoreResult<Outputs> {
    if rows == 0 || !logits.len().is_multiple_of(rows) {
        return Err(Error::Invalid(format!("{} logits for {rows} labels", logits.len())).into());
    }
    Outputs::new(logits.len() / rows, logits)
}

/// The loss of each row; their mean is the batch's loss.
fn losses<B: Autodiff>(logits: &Outputs, batch: &Batch<B>, loss: CrossEntropy) -> Result<Vec<f64>> {
    let rows = logits.rows().zip(&batch.labels).enumerate();
    let losses = rows.map(|(row, (logits, &label))| {
        let own = cross_entropy(logits, label, loss.label_smoothing)?;
        let Some(mixed) = &batch.mixed else { return Ok(own) };
        let second = mixed.labels.get(row).copied().unwrap_or(usize::MAX);
        let second = cross_entropy(logits, second, loss.label_smoothing)?;
        Ok(mixed.weight * own + (1.0 - mixed.weight) * second)
    });
    losses.collect()
}

/// The cross-entropy −Σ target·log softmax with targets (1−s)·onehot + s/K.
fn cross_entropy(logits: &[f64], label: usize, smoothing: f64) -> Result<f64> {
    let classes = logits.len() as f64;
    let own = logits
        .get(label)
        .ok_or_else(|| Error::Invalid(format!("label {label}, but the model has {classes} classes")))?;
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = top + logits.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
    let mean = logits.iter().sum::<f64>() / classes;
    Ok(log_sum - (1.0 - smoothing) * own - smoothing * mean)
}
