//! State that a regulariser keeps from step to step. Only steps that succeed change it.

use crate::{Leaf, Result, StateSink, StateSource, checkpoint::optional_vector};

/// The outcome of a step, for regularisers with state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The step succeeded: θ has moved.
    Moved,
    /// The step failed: θ and all state are as before it.
    Failed,
}

/// A value that a step replaces when it succeeds. In a step over groups each group sees the value that the group before
/// it made.
#[derive(Clone, Debug)]
pub(super) struct Memory<T> {
    kept: Option<T>,
    /// The value that the present step made, until the step ends.
    next: Option<T>,
}

impl<T> Memory<T> {
    /// A memory that holds nothing.
    pub(super) const fn new() -> Self {
        Self { kept: None, next: None }
    }

    /// The value at this point of the step; `None` if there is none yet.
    pub(super) fn get(&self) -> Option<&T> {
        self.next.as_ref().or(self.kept.as_ref())
    }

    /// The value that earlier steps left, whatever the present step has made.
    pub(super) fn kept(&self) -> Option<&T> {
        self.kept.as_ref()
    }

    /// The value that the present step has already made, if any.
    pub(super) fn pending(&self) -> Option<&T> {
        self.next.as_ref()
    }

    /// Takes the value of [`get`](Self::get), to be changed and given back to [`set`](Self::set).
    pub(super) fn take(&mut self) -> Option<T>
    where
        T: Clone,
    {
        self.next.take().or_else(|| self.kept.clone())
    }

    /// Sets the value that is kept if the step succeeds.
    pub(super) fn set(&mut self, next: T) {
        self.next = Some(next);
    }

    pub(super) fn end_step(&mut self, ending: Ending) {
        let next = self.next.take();
        if ending == Ending::Moved && next.is_some() {
            self.kept = next;
        }
    }
}

impl<V> Memory<V> {
    pub(super) fn save(&self, name: &str, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.kept.as_ref().map_or(Ok(()), |kept| sink.put(name, Leaf::Vector(kept)))
    }

    pub(super) fn load(&mut self, name: &str, source: &mut dyn StateSource<V>) -> Result<()> {
        *self = Self { kept: optional_vector(source, name)?, next: None };
        Ok(())
    }
}
