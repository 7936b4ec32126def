//! What a gradient pass leaves behind for products at its point: one tagged entry an operation.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{Error, Result};

/// One operation of a gradient pass.
#[derive(Debug)]
pub struct Recorded<S> {
    /// Its name.
    pub op: &'static str,
    /// Its output shape.
    pub shape: Vec<usize>,
    /// Output, adjoint and whatever else its replay needs.
    pub saved: S,
}

/// The operations of one gradient pass in order, with a cursor for replays. Handles share the entries.
#[derive(Debug)]
pub struct Records<S> {
    entries: Rc<RefCell<Vec<Rc<Recorded<S>>>>>,
    cursor: Rc<Cell<usize>>,
}

impl<S> Clone for Records<S> {
    fn clone(&self) -> Self {
        Self { entries: Rc::clone(&self.entries), cursor: Rc::clone(&self.cursor) }
    }
}

impl<S> Default for Records<S> {
    fn default() -> Self {
        Self { entries: Rc::default(), cursor: Rc::default() }
    }
}

impl<S> Records<S> {
    /// Appends an operation; its `saved` part may be completed later through interior mutability.
    pub fn push(&self, op: &'static str, shape: &[usize], saved: S) -> Rc<Recorded<S>> {
        let entry = Rc::new(Recorded { op, shape: shape.to_vec(), saved });
        self.entries.borrow_mut().push(Rc::clone(&entry));
        entry
    }
    /// The same entries with a cursor of its own, at the start.
    pub fn rewound(&self) -> Self {
        Self { entries: Rc::clone(&self.entries), cursor: Rc::default() }
    }
    /// The next entry, which must be of this operation and output shape.
    ///
    /// # Errors
    /// [`Error::RecordMismatch`], [`Error::RecordExhausted`].
    pub fn next(&self, op: &'static str, shape: &[usize]) -> Result<Rc<Recorded<S>>> {
        let position = self.cursor.get();
        let entries = self.entries.borrow();
        let entry = entries.get(position).ok_or(Error::RecordExhausted {
            position,
            asked_op: op,
            recorded: entries.len(),
        })?;
        if entry.op != op || entry.shape != shape {
            return Err(Error::RecordMismatch {
                position,
                recorded_op: entry.op,
                recorded_shape: entry.shape.clone(),
                asked_op: op,
                asked_shape: shape.to_vec(),
            });
        }
        self.cursor.set(position + 1);
        Ok(Rc::clone(entry))
    }
    /// Checks that every entry was used.
    ///
    /// # Errors
    /// An error naming the first entry left over.
    pub fn finish(&self) -> Result<()> {
        let (position, entries) = (self.cursor.get(), self.entries.borrow());
        match entries.get(position) {
            None => Ok(()),
            Some(entry) => Err(Error::RecordMismatch {
                position,
                recorded_op: entry.op,
                recorded_shape: entry.shape.clone(),
                asked_op: "end of the model",
                asked_shape: Vec::new(),
            }),
        }
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }
    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
