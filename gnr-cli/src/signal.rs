//! Stopping: in order at the first Ctrl-C, at once at the second. The end of the program that started this one also
//! stops it, if that was asked for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

use crate::output::tell;

/// The exit code after an interruption: 128 + SIGINT, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The option of long commands that says when to stop.
#[derive(Clone, Copy, Default, clap::Args)]
pub(crate) struct Stop {
    /// Stop as at Ctrl-C when standard input ends: for programs that start gnr and may die
    #[arg(long)]
    stop_at_eof: bool,
}

impl Stop {
    /// Makes a flag that the first Ctrl-C sets; the handler also prints `notice`. With `--stop-at-eof` the end of
    /// standard input sets the flag, too.
    pub(crate) fn flag(self, notice: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
        let stop = stop_on_interrupt(notice)?;
        if self.stop_at_eof {
            stop_when_input_ends(Arc::clone(&stop));
        }
        Ok(stop)
    }
}

fn stop_on_interrupt(notice: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (handler, signalled) = (Arc::clone(&stop), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        handler.store(true, Ordering::Relaxed);
        // The flag does not show a first Ctrl-C, because the end of the input may have set it.
        if signalled.swap(true, Ordering::Relaxed) {
            // The user does not want to wait. The files on disk are complete at every moment.
            std::process::exit(INTERRUPTED.into());
        }
        // A panic of this thread would lose the second Ctrl-C.
        tell(&format!("\n{notice}"));
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Sets the flag when standard input ends. The system closes the other end of the pipe however its process ends, so
/// that no process works on without the one that started it.
fn stop_when_input_ends(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        // The input's contents are ignored, and an error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        stop.store(true, Ordering::Relaxed);
    });
}
