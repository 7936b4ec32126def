//! A `gnr` process that never outlives us: it reads its standard input only to learn that we are gone (or want it to stop),
//! because the system closes the pipe whatever ends this process.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::interrupt::{self, Asked};

/// How `gnr` says that it stopped when asked, with a checkpoint.
const INTERRUPTED: i32 = 130;
/// A process is looked after this often; nothing beside runs of seconds to days.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself, with success or not.
    Itself(ExitStatus),
    /// Because it was asked to.
    Interrupted,
}

/// Runs `command` to its end, or until the user asks to stop.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(command: &mut Command) -> std::io::Result<Ended> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut alive = child.stdin.take();
    loop {
        if let Some(status) = child.try_wait()? {
            let interrupted = status.code() == Some(INTERRUPTED)
                || (interrupt::asked() == Asked::Kill && !status.success());
            return Ok(if interrupted { Ended::Interrupted } else { Ended::Itself(status) });
        }
        match interrupt::asked() {
            Asked::Nothing => {}
            Asked::Stop => drop(alive.take()),
            Asked::Kill => child.kill()?,
        }
        std::thread::sleep(LOOK);
    }
}
