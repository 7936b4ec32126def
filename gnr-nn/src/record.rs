//! The record of a gradient pass, for products at its point: one tagged entry for each operation.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::{Error, Result};

/// One operation of a gradient pass.
#[derive(Debug)]
pub struct Recorded<S> {
    /// The operation's name.
    pub op: &'static str,
    /// The shape of the operation's output.
    pub shape: Vec<usize>,
    /// Output, adjoint and whatever else the replay needs.
    pub saved: S,
}

/// The operations of one gradient pass in order. Handles share the entries.
#[derive(Debug)]
pub struct Records<S>(Rc<RefCell<Vec<Rc<Recorded<S>>>>>);

impl<S> Clone for Records<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> Default for Records<S> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<S> Records<S> {
    /// Appends an operation; its `saved` part may be completed later through interior mutability.
    pub fn push(&self, op: &'static str, shape: &[usize], saved: S) -> Rc<Recorded<S>> {
        let entry = Rc::new(Recorded { op, shape: shape.to_vec(), saved });
        self.0.borrow_mut().push(Rc::clone(&entry));
        entry
    }
    /// The entries for one replay, from the first. The replay keeps no entry that it has returned: if the records are
    /// dropped meanwhile, an entry lives as long as it is in use.
    pub fn replay(&self) -> Replay<S> {
        let entries = self.0.borrow();
        Replay { recorded: entries.len(), left: Rc::new(RefCell::new(entries.iter().cloned().collect())) }
    }
    /// Number of recorded operations.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The entries of a gradient pass that a replay has not used yet. Handles share them.
#[derive(Debug)]
pub struct Replay<S> {
    recorded: usize,
    left: Rc<RefCell<VecDeque<Rc<Recorded<S>>>>>,
}

impl<S> Clone for Replay<S> {
    fn clone(&self) -> Self {
        Self { recorded: self.recorded, left: Rc::clone(&self.left) }
    }
}

impl<S> Replay<S> {
    /// The next entry, which must have this operation and output shape. After an error the entry is still next.
    ///
    /// # Errors
    /// [`Error::RecordMismatch`] for another operation or shape, [`Error::RecordExhausted`] after the last entry.
    pub fn next(&self, op: &'static str, shape: &[usize]) -> Result<Rc<Recorded<S>>> {
        let mut left = self.left.borrow_mut();
        let position = self.recorded - left.len();
        let exhausted = || Error::RecordExhausted { position, asked_op: op, recorded: self.recorded };
        match left.front() {
            Some(entry) if entry.op == op && entry.shape == shape => {}
            Some(entry) => return Err(mismatch(position, entry, op, shape)),
            None => return Err(exhausted()),
        }
        left.pop_front().ok_or_else(exhausted)
    }
    /// Checks that every entry was used.
    ///
    /// # Errors
    /// An error that names the first entry left over.
    pub fn finish(&self) -> Result<()> {
        let left = self.left.borrow();
        left.front()
            .map_or(Ok(()), |entry| Err(mismatch(self.recorded - left.len(), entry, "end of the model", &[])))
    }
}

fn mismatch<S>(position: usize, entry: &Recorded<S>, op: &'static str, shape: &[usize]) -> Error {
    Error::RecordMismatch {
        position,
        recorded_op: entry.op,
        recorded_shape: entry.shape.clone(),
        asked_op: op,
        asked_shape: shape.to_vec(),
    }
}
