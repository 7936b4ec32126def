//! The tape: the steps of a reverse pass, in the order in which the forward pass recorded them.
//!
//! All tensors of a session share one tape, so dropping a tensor drops no step.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

/// One step of the reverse pass.
type Step = Box<dyn FnOnce()>;

/// A session's tape; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Tape(Rc<RefCell<Vec<Step>>>);

/// A tape that may have ended with its session. Recorded steps may own this handle without forming a cycle.
#[derive(Default)]
pub(crate) struct WeakTape(Weak<RefCell<Vec<Step>>>);

impl Tape {
    /// Adds a step, which runs before all earlier ones.
    pub(crate) fn push(&self, step: impl FnOnce() + 'static) {
        self.0.borrow_mut().push(Box::new(step));
    }
    /// Runs the steps from the last to the first, drops each once it ran, and leaves the tape empty.
    pub(crate) fn run_backward(&self) {
        let mut steps = std::mem::take(&mut *self.0.borrow_mut());
        while let Some(step) = steps.pop() {
            step();
        }
    }
    /// A handle that does not keep the tape alive.
    pub(crate) fn downgrade(&self) -> WeakTape {
        WeakTape(Rc::downgrade(&self.0))
    }
}

impl WeakTape {
    /// The tape, while its session is alive.
    pub(crate) fn upgrade(&self) -> Option<Tape> {
        self.0.upgrade().map(Tape)
    }
    /// Whether both are handles of the same tape.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_reverse_and_once() {
        let (tape, seen) = (Tape::default(), Rc::new(RefCell::new(Vec::new())));
        for step in 0..3 {
            let seen = Rc::clone(&seen);
            tape.push(move || seen.borrow_mut().push(step));
        }
        tape.run_backward();
        tape.run_backward();
        assert_eq!(*seen.borrow(), [2, 1, 0]);
    }

    #[test]
    fn a_weak_handle_ends_with_the_session() {
        let (one, two) = (Tape::default(), Tape::default());
        let weak = one.downgrade();
        assert!(weak.same(&one.clone().downgrade()) && !weak.same(&two.downgrade()));
        assert!(weak.upgrade().is_some());
        drop(one);
        assert!(weak.upgrade().is_none());
    }
}
