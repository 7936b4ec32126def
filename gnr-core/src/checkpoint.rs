//! State as named leaves, so that a checkpoint is a flat map any file format can hold.

use crate::Result;

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
    /// Those of the sink.
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()>;
    /// Replaces the state. On an error `self` is unchanged.
    ///
    /// # Errors
    /// [`Error::CheckpointLeaf`](crate::Error::CheckpointLeaf) for a missing or ill-typed leaf.
    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()>;
}
