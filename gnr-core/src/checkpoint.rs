//! State as named leaves, so that a checkpoint is a flat map any file format can hold.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// One named piece of state.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf<V> {
    /// A vector of the parameter space (momentum, second moments, …).
    Vector(V),
    /// A count, such as a step number.
    Count(u64),
}

/// Receives state.
pub trait StateSink<V> {
    /// Stores one leaf under a name that is unique in this object's state.
    ///
    /// # Errors
    /// A failure of the storage.
    fn put(&mut self, name: &str, leaf: Leaf<&V>) -> Result<()>;
}

/// Gives state back.
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
    /// Replaces the state. On an error `self` is unchanged.
    ///
    /// # Errors
    /// [`Error::CheckpointLeaf`](crate::Error::CheckpointLeaf) for a missing or ill-typed leaf.
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()>;
}

/// The simplest storage: a map in memory.
pub type Leaves<V> = BTreeMap<String, Leaf<V>>;

impl<V: Clone> StateSink<V> for Leaves<V> {
    fn put(&mut self, name: &str, leaf: Leaf<&V>) -> Result<()> {
        let leaf = match leaf {
            Leaf::Vector(vector) => Leaf::Vector(vector.clone()),
            Leaf::Count(count) => Leaf::Count(count),
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
        Some(Leaf::Count(count)) => {
            Err(bad_leaf(name, format!("expected a vector, found the count {count}")))
        }
    }
}

/// The count stored under `name`.
pub(crate) fn required_count<V>(source: &mut dyn StateSource<V>, name: &str) -> Result<u64> {
    match source.get(name)? {
        Some(Leaf::Count(count)) => Ok(count),
        Some(Leaf::Vector(_)) => Err(bad_leaf(name, "expected a count, found a vector")),
        None => Err(bad_leaf(name, "expected a count, found nothing")),
    }
}

/// The error of a leaf that does not fit.
pub(crate) fn bad_leaf(name: &str, problem: impl Into<String>) -> Error {
    Error::CheckpointLeaf { name: name.to_owned(), problem: problem.into() }
}

/// Stores the state of member `i` of a collection under `i.`.
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

/// Gives what [`PrefixedSink`] stored.
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
