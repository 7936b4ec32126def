//! Memory that the tests of whole architectures share, so that a test runner may start as many threads as it likes.

use std::sync::{Condvar, Mutex, PoisonError};

/// Memory that all tests together may hold, in MB.
const BUDGET: usize = 3000;

static FREE: Mutex<usize> = Mutex::new(BUDGET);
static FREED: Condvar = Condvar::new();

/// A part of the budget, given back on drop.
#[derive(Debug)]
pub struct Reserved {
    megabytes: usize,
    release: fn(),
}

/// Waits until `megabytes` are free in this process; a request above the whole budget waits for all of it. `release`
/// runs before the part is given back, for backends that keep idle memory.
pub fn reserve(megabytes: usize, release: fn()) -> Reserved {
    let megabytes = megabytes.min(BUDGET);
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = FREED.wait_while(free, |free| *free < megabytes).unwrap_or_else(PoisonError::into_inner);
    *free -= megabytes;
    Reserved { megabytes, release }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        (self.release)();
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.megabytes;
        FREED.notify_all();
    }
}
