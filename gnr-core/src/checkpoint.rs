//! State as named leaves, so that a checkpoint is a flat map any file format can hold.

use crate::{Error, Result};
use std::{collections::BTreeMap, sync::Arc};

/// One named piece of state.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf<V> {
    /// A vector of the parameter space (momentum, second moments, …).
    Vector(V),
    /// A count, such as a step number.
    Count(u64),
    /// Numbers of another shape, on the host (outputs of a model, …).
    Table(Table),
}

impl<V> Leaf<V> {
    /// The kind of the leaf in words, for errors.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Vector(_) => "a vector".into(),
            Self::Count(count) => format!("the count {count}"),
            Self::Table(table) => format!("a table of shape {:?}", table.shape()),
        }
    }
}

/// Numbers in single precision, in rows. Clones share their memory until one of them is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    shape: [usize; 2],
    values: Arc<Vec<f32>>,
}

impl Table {
    /// A table of `shape` (rows, columns) from its values, row by row.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] unless there are rows · columns values.
    pub fn new(shape: [usize; 2], values: Vec<f32>) -> Result<Self> {
        let expected = shape[0].saturating_mul(shape[1]);
        if values.len() != expected {
            return Err(Error::DimensionMismatch { operation: "table", expected, found: values.len() });
        }
        Ok(Self { shape, values: Arc::new(values) })
    }
    /// A table of zeros of `shape` (rows, columns).
    pub(crate) fn zeros(shape: [usize; 2]) -> Self {
        Self { shape, values: Arc::new(vec![0.0; shape[0].saturating_mul(shape[1])]) }
    }
    /// The shape: number of rows, and numbers in a row.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }
    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
    /// The numbers of row `row`, which must exist.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.shape[1]..][..self.shape[1]]
    }
    /// The numbers of row `row` to write to; the row must exist.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let width = self.shape[1];
        &mut Arc::make_mut(&mut self.values)[row * width..][..width]
    }
}

/// Storage that receives the leaves of a checkpoint.
pub trait StateSink<V> {
    /// Stores one leaf under a name that is unique in this object's state.
    ///
    /// # Errors
    /// A failure of the storage.
    fn put(&mut self, name: &str, leaf: Leaf<&V>) -> Result<()>;
}

/// Storage that gives back the leaves of a checkpoint.
pub trait StateSource<V> {
    /// The leaf stored under `name`, or `None`.
    ///
    /// # Errors
    /// A failure of the storage, or a leaf whose shape does not fit.
    fn get(&mut self, name: &str) -> Result<Option<Leaf<V>>>;
}

/// Something whose state can be saved and restored bit for bit.
pub trait Checkpoint<V> {
    /// Writes every leaf of the state.
    ///
    /// # Errors
    /// The errors of the sink.
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()>;
    /// Replaces the state by the stored one. On an error `self` is unchanged.
    ///
    /// # Errors
    /// [`Error::CheckpointLeaf`](crate::Error::CheckpointLeaf) for a missing or ill-typed leaf.
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()>;
}

/// Leaves by name in a map in memory, the simplest storage.
pub type Leaves<V> = BTreeMap<String, Leaf<V>>;

impl<V: Clone> StateSink<V> for Leaves<V> {
    fn put(&mut self, name: &str, leaf: Leaf<&V>) -> Result<()> {
        let leaf = match leaf {
            Leaf::Vector(vector) => Leaf::Vector(vector.clone()),
            Leaf::Count(count) => Leaf::Count(count),
            Leaf::Table(table) => Leaf::Table(table),
        };
        match self.insert(name.to_owned(), leaf) {
            None => Ok(()),
            Some(_) => Err(bad_leaf(name, "stored twice under the same name")),
        }
    }
}

impl<V: Clone> StateSource<V> for Leaves<V> {
    fn get(&mut self, name: &str) -> Result<Option<Leaf<V>>> {
        Ok(BTreeMap::get(self, name).cloned())
    }
}

/// The vector stored under `name`, or `None` when there is no such leaf.
pub(crate) fn optional_vector<V>(source: &mut dyn StateSource<V>, name: &str) -> Result<Option<V>> {
    match source.get(name)? {
        None => Ok(None),
        Some(Leaf::Vector(vector)) => Ok(Some(vector)),
        Some(other) => Err(bad_leaf(name, format!("expected a vector, found {}", other.kind()))),
    }
}

/// The table stored under `name`, or `None` when there is no such leaf.
pub(crate) fn optional_table<V>(source: &mut dyn StateSource<V>, name: &str) -> Result<Option<Table>> {
    match source.get(name)? {
        None => Ok(None),
        Some(Leaf::Table(table)) => Ok(Some(table)),
        Some(other) => Err(bad_leaf(name, format!("expected a table, found {}", other.kind()))),
    }
}

/// The count stored under `name`.
pub(crate) fn required_count<V>(source: &mut dyn StateSource<V>, name: &str) -> Result<u64> {
    match source.get(name)? {
        Some(Leaf::Count(count)) => Ok(count),
        Some(other) => Err(bad_leaf(name, format!("expected a count, found {}", other.kind()))),
        None => Err(bad_leaf(name, "expected a count, found nothing")),
    }
}

/// The error of a leaf that is missing or does not fit; `problem` says what was expected and what was found.
pub(crate) fn bad_leaf(name: &str, problem: impl Into<String>) -> Error {
    Error::CheckpointLeaf { name: name.to_owned(), problem: problem.into() }
}

/// A sink that stores the state of member `i` of a collection under `i.`.
pub(crate) struct PrefixedSink<'a, V> {
    index: usize,
    inner: &'a mut dyn StateSink<V>,
}

impl<'a, V> PrefixedSink<'a, V> {
    pub(crate) fn new(index: usize, inner: &'a mut dyn StateSink<V>) -> Self {
        Self { index, inner }
    }
}

impl<V> StateSink<V> for PrefixedSink<'_, V> {
    fn put(&mut self, name: &str, leaf: Leaf<&V>) -> Result<()> {
        self.inner.put(&format!("{}.{name}", self.index), leaf)
    }
}

/// A source that gives back the leaves that a [`PrefixedSink`] stored for member `i`.
pub(crate) struct PrefixedSource<'a, V> {
    index: usize,
    inner: &'a mut dyn StateSource<V>,
}

impl<'a, V> PrefixedSource<'a, V> {
    pub(crate) fn new(index: usize, inner: &'a mut dyn StateSource<V>) -> Self {
        Self { index, inner }
    }
}

impl<V> StateSource<V> for PrefixedSource<'_, V> {
    fn get(&mut self, name: &str) -> Result<Option<Leaf<V>>> {
        self.inner.get(&format!("{}.{name}", self.index))
    }
}
