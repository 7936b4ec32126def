//! The only file that touches dfdx tapes: a clonable tape that every tensor of a session records onto.
//!
//! dfdx's own tape is owned by one tensor and moves from operand to result, so dropping a tensor silently drops
//! gradients. Here all tensors of a session share one [`OwnedTape`]; nothing is lost when one of them goes away.

use std::{cell::RefCell, rc::Rc};

use dfdx::prelude::{Backward, Gradients, Merge, NoneTape, OwnedTape, PutTape, Rank0, Storage, Tape, Tensor};

/// A handle of a session's tape. The default is a handle of no tape: operations on constants alone are not recorded.
pub(crate) struct SharedTape<E, D: Storage<E>>(Option<Rc<RefCell<OwnedTape<E, D>>>>);

impl<E, D: Storage<E>> SharedTape<E, D> {
    /// A new, empty tape.
    pub(crate) fn recording() -> Self {
        Self(Some(Rc::new(RefCell::new(OwnedTape::default()))))
    }

    /// Runs everything recorded so far backwards from `root`, whose adjoint is 1, and leaves the tape empty.
    ///
    /// # Errors
    /// A failure of the device.
    pub(crate) fn backward(&self, root: Tensor<Rank0, E, D, NoneTape>) -> Result<Gradients<E, D>, D::Err>
    where
        Tensor<Rank0, E, D, OwnedTape<E, D>>: Backward<E, D> + dfdx::prelude::HasErr<Err = D::Err>,
    {
        let owned = self.0.as_ref().map(|tape| std::mem::take(&mut *tape.borrow_mut()));
        root.put_tape(owned.unwrap_or_default()).try_backward()
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
                // The operands are on the tapes of two sessions. Both tapes are merged into that of the first operand.
                let (first, second) =
                    (std::mem::take(&mut *a.borrow_mut()), std::mem::take(&mut *b.borrow_mut()));
                *a.borrow_mut() = first.merge(second);
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
        if let Some(tape) = &self.0 {
            tape.borrow_mut().add_backward_op(operation);
        }
    }
}
