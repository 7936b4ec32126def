//! The examples of a mini-batch one by one: their losses, their outputs, and selections of them.

use super::{GradOracle, HvpOracle, SampledOracle};
use crate::{Error, Result};

/// A point at which losses or outputs are asked for.
#[derive(Debug)]
pub enum Point<'a, V> {
    /// The point of the step's own evaluation ([`Pass::Commit`](crate::Pass::Commit)): the answer comes from that pass,
    /// without another one.
    Committed,
    /// Any other point, looked at by a [`Pass::Probe`](crate::Pass::Probe).
    At(&'a V),
}

impl<V> Clone for Point<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Point<'_, V> {}

impl<V> Point<'_, V> {
    /// Whether a pass is needed to answer at this point.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::At(_))
    }
}

/// A [`GradOracle`] that knows the loss of each example, and can answer for some of them.
pub trait ExampleOracle: GradOracle {
    /// The loss of each example at a point, in the order of the batch. Their mean is L̂.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a loss that is not; [`Error::Oracle`] for [`Point::Committed`] before a committed
    /// evaluation; a failure of the backend.
    ///
    /// # Cost
    /// A forward pass; none at the committed point.
    fn losses(&mut self, at: Point<'_, Self::Vector>) -> Result<Vec<f64>>;

    /// Makes L̂ the mean loss over the examples of these rows, or over all of them again (`None`). Returns the rows'
    /// share of the batch. As after [`restrict`](SampledOracle::restrict), an evaluation belongs to the L̂ under which
    /// it was made.
    ///
    /// # Errors
    /// [`Error::Oracle`] for a row that does not exist, or no row at all; a failure of the backend.
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64>;
}

/// A [`GradOracle`] whose loss is a function of the outputs of a model: one row of numbers an example.
pub trait OutputOracle: GradOracle {
    /// The model's outputs at a point, in the order of the batch: for a classifier its logits.
    ///
    /// # Errors
    /// [`Error::Oracle`] for [`Point::Committed`] before a committed evaluation; a failure of the backend.
    ///
    /// # Cost
    /// A forward pass; none at the committed point.
    fn outputs(&mut self, at: Point<'_, Self::Vector>) -> Result<Outputs>;

    /// Multiplies u with the transposed Jacobian: Jᵀ·u, the gradient of ⟨u, outputs⟩ at a point. The pass is a
    /// [`Pass::Probe`](crate::Pass::Probe).
    ///
    /// # Errors
    /// [`Error::Oracle`] unless u has the shape of the outputs; a failure of the backend.
    ///
    /// # Cost
    /// One gradient.
    fn pull_back(&mut self, at: &Self::Vector, u: &Outputs) -> Result<Self::Vector>;

    /// The index in the data set, from 0, of the example in each row of the batch.
    ///
    /// # Errors
    /// [`Error::Oracle`] where the indices are not known, or a row is a blend of several examples.
    fn examples(&self) -> Result<Vec<u64>>;
}

/// An oracle that answers what any registered regulariser may ask: see [`AnyRegularizer`](crate::AnyRegularizer).
pub trait FullOracle: HvpOracle + SampledOracle + ExampleOracle + OutputOracle {}
impl<O: HvpOracle + SampledOracle + ExampleOracle + OutputOracle> FullOracle for O {}

/// Outputs of a model, or the factors u that multiply them in [`pull_back`](OutputOracle::pull_back): one row of
/// numbers for each example.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    width: usize,
    values: Vec<f64>,
}

impl Outputs {
    /// Makes outputs of rows of `width` values, one row after another.
    ///
    /// # Errors
    /// [`Error::Oracle`] when the values do not fill whole rows.
    pub fn new(width: usize, values: Vec<f64>) -> Result<Self> {
        if width == 0 || !values.len().is_multiple_of(width) {
            let found = values.len();
            return Err(Error::Oracle(format!("expected rows of {width} outputs, found {found} values")));
        }
        Ok(Self { width, values })
    }
    /// Makes outputs of width 1, one number a row.
    pub fn column(values: Vec<f64>) -> Self {
        Self { width: 1, values }
    }
    /// The width: how many numbers a row has.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.values.len() / self.width
    }
    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }
    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// Appends the rows of another batch of equal width.
    ///
    /// # Errors
    /// [`Error::Oracle`] when the widths differ.
    pub fn append(&mut self, other: Self) -> Result<()> {
        if self.width != other.width {
            let (expected, found) = (self.width, other.width);
            return Err(Error::Oracle(format!("expected rows of {expected} outputs, found rows of {found}")));
        }
        self.values.extend(other.values);
        Ok(())
    }
    /// Cuts the rows into consecutive batches, of `rows` rows each.
    ///
    /// # Errors
    /// [`Error::Oracle`] unless the batches have as many rows in all as `self`.
    pub fn cut(&self, rows: impl IntoIterator<Item = usize>) -> Result<Vec<Self>> {
        let (mut left, mut parts) = (&self.values[..], Vec::new());
        for rows in rows {
            let count = rows * self.width;
            let (part, rest) = left.split_at_checked(count).ok_or_else(|| self.other_rows(rows))?;
            parts.push(Self { width: self.width, values: part.to_vec() });
            left = rest;
        }
        if left.is_empty() { Ok(parts) } else { Err(self.other_rows(0)) }
    }
    fn other_rows(&self, at: usize) -> Error {
        Error::Oracle(format!("{} rows of outputs do not fit the batch (at a part of {at})", self.num_rows()))
    }
}

/// The error of an oracle that is asked about the committed point before it has evaluated one.
pub fn nothing_committed() -> Error {
    Error::Oracle("losses or outputs of the committed evaluation before there was one".into())
}

/// Checks a selection of rows of a batch of `n` examples. Returns its share of the batch, 1 for `None`.
///
/// # Errors
/// [`Error::Oracle`] for a row that does not exist, or no row at all.
pub fn checked_share(rows: Option<&[usize]>, n: usize) -> Result<f64> {
    let Some(rows) = rows else { return Ok(1.0) };
    if let Some(row) = rows.iter().find(|row| **row >= n) {
        return Err(Error::Oracle(format!("row {row} of a batch of {n} examples")));
    }
    if rows.is_empty() {
        return Err(Error::Oracle("a selection without examples".into()));
    }
    Ok(rows.len() as f64 / n as f64)
}
