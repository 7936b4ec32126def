//! Ctrl-C and SIGTERM while runs are going on: the first asks them to stop with a checkpoint, the second ends them.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

static SIGNALS: AtomicU8 = AtomicU8::new(0);

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// Nothing: go on.
    Nothing,
    /// Start nothing more, and let what runs end with a checkpoint.
    Stop,
    /// End what runs at once.
    Kill,
}

/// Listens from now on.
///
/// # Errors
/// When the system refuses a signal handler.
pub(crate) fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        let before = SIGNALS.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            eprintln!(
                "\nstopping: the runs end after their current step, with a checkpoint (again to stop at once)"
            );
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// What was asked for so far.
pub(crate) fn asked() -> Asked {
    match SIGNALS.load(Ordering::Relaxed) {
        0 => Asked::Nothing,
        1 => Asked::Stop,
        _ => Asked::Kill,
    }
}

/// The end of a task that the user stopped; exit code 130, as shells have it.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; the same command continues where the runs stopped")
    }
}

impl std::error::Error for Interrupted {}
