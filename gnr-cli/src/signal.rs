//! Ctrl-C: the first time the work ends in order, the second time at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

/// Exit code: 128 + SIGINT, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;

/// A flag that the first Ctrl-C sets, saying `notice`.
pub(crate) fn stop_on_interrupt(notice: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // The flag may be set for another reason than a first Ctrl-C.
    let (handler, signalled) = (Arc::clone(&stop), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        handler.store(true, Ordering::Relaxed);
        if signalled.swap(true, Ordering::Relaxed) {
            // The user does not want to wait. What is on disk is whole whenever this happens.
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\n{notice}");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
