//! The only file that touches dfdx tapes: a clonable tape that every tensor of a session records onto.
//!
//! dfdx's own tape is owned by one tensor and moves from operand to result, so dropping a tensor silently drops
//! gradients. Here all tensors of a session share one [`OwnedTape`]; nothing is lost when one of them goes away.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use dfdx::prelude::{
    Backward, Gradients, HasErr, Merge, NoneTape, OwnedTape, PutTape, Rank0, Storage, Tape, Tensor,
};
use gnr_nn::{Error, Result};

use crate::generic::library;

/// A handle of a session's tape. The default is a handle of no tape: operations on constants alone are not recorded.
pub(crate) struct SharedTape<E, D: Storage<E>>(Option<Rc<Session<E, D>>>);

/// The tape of one session.
struct Session<E, D: Storage<E>> {
    tape: RefCell<OwnedTape<E, D>>,
    /// Whether an operation had operands of this session and of another. dfdx's operations cannot return such an error
    /// of ours, so the reverse pass does.
    mixed: Cell<bool>,
}

impl<E, D: Storage<E>> SharedTape<E, D> {
    /// A new, empty tape.
    pub(crate) fn recording() -> Self {
        Self(Some(Rc::new(Session { tape: RefCell::default(), mixed: Cell::new(false) })))
    }

    /// Runs everything recorded so far backwards from `root`, whose adjoint is 1, and leaves the tape empty.
    ///
    /// # Errors
    /// A handle of no tape, an operation on tensors of two sessions, a failure of the device.
    pub(crate) fn backward(&self, root: Tensor<Rank0, E, D, NoneTape>) -> Result<Gradients<E, D>>
    where
        Tensor<Rank0, E, D, OwnedTape<E, D>>: Backward<E, D> + HasErr<Err = D::Err>,
    {
        let Some(session) = &self.0 else {
            return Err(Error::Invalid(
                "backward: expected the handle of a session, found a plain handle".into(),
            ));
        };
        if session.mixed.get() {
            let problem = "backward: an operation had operands that are tracked by two different sessions";
            return Err(Error::Invalid(problem.into()));
        }
        let owned = std::mem::take(&mut *session.tape.borrow_mut());
        root.put_tape(owned).try_backward().map_err(library)
    }
}

impl<E, D: Storage<E>> Clone for SharedTape<E, D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E, D: Storage<E>> Default for SharedTape<E, D> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E, D: Storage<E>> Merge<NoneTape> for SharedTape<E, D> {
    fn merge(self, _: NoneTape) -> Self {
        self
    }
}

impl<E, D: Storage<E>> Merge<Self> for SharedTape<E, D> {
    fn merge(self, other: Self) -> Self {
        match (&self.0, &other.0) {
            (None, _) => other,
            (_, None) => self,
            (Some(a), Some(b)) if Rc::ptr_eq(a, b) => self,
            (Some(a), Some(b)) => {
                a.mixed.set(true);
                b.mixed.set(true);
                self
            }
        }
    }
}

impl<E, D: Storage<E>> Tape<E, D> for SharedTape<E, D> {
    const OWNS_TAPE: bool = true;
    fn add_backward_op<F>(&mut self, operation: F)
    where
        F: 'static + FnOnce(&mut Gradients<E, D>) -> Result<(), D::Err>,
    {
        if let Some(session) = &self.0 {
            session.tape.borrow_mut().add_backward_op(operation);
        }
    }
}
