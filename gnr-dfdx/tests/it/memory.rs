//! Memory that tests of whole architectures share, so that the runner may start as many threads as it likes.

use std::sync::{Condvar, Mutex, PoisonError};

/// What all of them together may hold, in MB.
const BUDGET: usize = 3000;

static FREE: Mutex<usize> = Mutex::new(BUDGET);
static FREED: Condvar = Condvar::new();

/// A part of the budget; given back on drop.
pub(crate) struct Reserved(usize);

/// Waits until so many MB are free. What is more than the budget waits for all of it.
pub(crate) fn reserve(megabytes: usize) -> Reserved {
    let megabytes = megabytes.min(BUDGET);
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = FREED.wait_while(free, |free| *free < megabytes).unwrap_or_else(PoisonError::into_inner);
    *free -= megabytes;
    Reserved(megabytes)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // A failed test leaves buffers of its lengths behind; the next one has others.
        gnr_dfdx::cpu::buffer::release_idle();
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}
