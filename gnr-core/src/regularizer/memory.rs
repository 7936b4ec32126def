//! What a regulariser remembers from step to step, changed by steps that succeed and by no other.

use crate::{Leaf, Result, StateSink, StateSource, checkpoint::optional_vector};

/// How a step ended, for those who remember something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// θ has moved.
    Moved,
    /// The step failed: θ and whatever is remembered are as before it.
    Failed,
}

/// A value that a step replaces when it succeeds. In a step over groups each group sees what the one before it made.
#[derive(Clone, Debug)]
pub(super) struct Memory<T> {
    kept: Option<T>,
    /// What the present step made, until it ends.
    next: Option<T>,
}

impl<T> Memory<T> {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self { kept: None, next: None }
    }

    /// What is remembered at this point of the step.
    pub(super) fn get(&self) -> Option<&T> {
        self.next.as_ref().or(self.kept.as_ref())
    }

    /// What the present step has made already.
    pub(super) fn pending(&self) -> Option<&T> {
        self.next.as_ref()
    }

    /// As [`get`](Self::get), to be changed and given back to [`set`](Self::set).
    pub(super) fn take(&mut self) -> Option<T>
    where
        T: Clone,
    {
        self.next.take().or_else(|| self.kept.clone())
    }

    /// What is remembered if the step succeeds.
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
