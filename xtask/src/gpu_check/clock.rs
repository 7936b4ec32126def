//! The time that is left, and commands that are ended when it is over.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::show;

/// Time between two looks at a running command.
const POLL: Duration = Duration::from_millis(20);
/// Number of lines of a failed command's output that are kept.
const LINES: usize = 40;

/// The end of the time in which stages may run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    end: Option<Instant>,
}

/// Error: the time was over before the stage began or ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over;

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the time was over; --minutes gives more")
    }
}

impl std::error::Error for Over {}

impl Clock {
    /// Starts now; `None` never ends.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { end: limit.and_then(|limit| Instant::now().checked_add(limit)) }
    }
    /// Whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
    /// Standard output of a command that must succeed before the time is over.
    pub(super) fn output(&self, mut command: Command) -> Result<String> {
        let shown = show(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        let (out, errors) = (read(child.stdout.take()), read(child.stderr.take()));
        let status = loop {
            if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{shown}`"))? {
                break status;
            }
            if self.is_over() {
                end(&mut child);
                return Err(Over).with_context(|| format!("`{shown}` was ended"));
            }
            thread::sleep(POLL);
        };
        let (out, errors) = (joined(out), joined(errors));
        if !status.success() {
            let said: Vec<&str> = errors.lines().chain(out.lines()).collect();
            bail!("`{shown}` failed ({status}):\n{}", said[said.len().saturating_sub(LINES)..].join("\n"));
        }
        Ok(out)
    }
}

/// Reads to the end in a thread of its own, so that the command never waits for a reader.
fn read(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // After an error, the bytes before it are shown.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(reader: JoinHandle<String>) -> String {
    reader.join().unwrap_or_default()
}

/// Ends a child. Errors are ignored, because the child may have ended already.
pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_errors_and_the_end_of_the_time() {
        let clock = Clock::new(None);
        assert_eq!(clock.output(shell("echo 1; echo 2 >&2")).unwrap(), "1\n");
        let error = clock.output(shell("echo why >&2; exit 3")).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("why"), "{error}");
        let started = Instant::now();
        let error = Clock::new(Some(Duration::from_millis(100))).output(shell("exec sleep 60")).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(error.is::<Over>() || error.root_cause().is::<Over>(), "{error:#}");
    }
}
