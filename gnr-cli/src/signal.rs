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
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            // The user does not want to wait. What is on disk is whole whenever this happens.
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\n{notice}");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
