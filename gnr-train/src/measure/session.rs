//! The clock, the stop flag, the observer and the folder of one measurement.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{MeasureEvent, MeasureObserver, Measured, subject::Description};
use crate::{
    atomic::write_atomically,
    error::{Result, TrainError},
    team::Team,
};

/// Time between saved states.
const SAVE_EVERY: Duration = Duration::from_secs(120);

/// Common parts of all running measurements. A step is a product or a point.
pub(crate) struct Session<'a> {
    /// The folder of the results.
    out: &'a Path,
    team: &'a Team,
    observer: &'a mut dyn MeasureObserver,
    stop: &'a AtomicBool,
    started: Instant,
    saved: Instant,
    /// Numbers of steps: done before this process started, done by now, and in all.
    before: usize,
    done: usize,
    total: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        out: &'a Path,
        team: &'a Team,
        observer: &'a mut dyn MeasureObserver,
        stop: &'a AtomicBool,
    ) -> Self {
        let now = Instant::now();
        Self { out, team, observer, stop, started: now, saved: now, before: 0, done: 0, total: 0 }
    }

    /// Begins the work, with so many steps done before.
    pub(super) fn start(&mut self, subject: &Description, done: usize, total: usize) {
        (self.before, self.done, self.total) = (done, done, total);
        self.observer.on_start(subject);
        self.started = Instant::now();
        self.saved = self.started;
    }

    /// Tells the observer the progress.
    pub(super) fn tell(&mut self, done: usize, total: usize, message: String) {
        (self.done, self.total) = (done, total);
        let since = (self.started.elapsed(), self.here(done));
        self.observer.on_progress(&MeasureEvent { done, total, since, message });
    }

    /// Breaks when the work was asked to stop on any rank.
    pub(super) fn go_on(&self) -> ControlFlow<()> {
        // A rank that cannot be asked gets its own error at the next product.
        let stop = self.team.any(self.stop.load(Ordering::Relaxed)).unwrap_or(true);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    pub(super) fn interrupted<R>(&self, done: usize, resumable: bool) -> Measured<R> {
        Measured::Interrupted { done, total: self.total, resumable }
    }

    /// Number of steps done, those before an interruption included.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Number of steps in all.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Number of steps, of the `done` ones, that this process made.
    pub(super) fn here(&self, done: usize) -> usize {
        done.saturating_sub(self.before)
    }

    /// Time since the work began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it is time to save a state; if so, the interval starts again.
    pub(super) fn save_is_due(&mut self) -> bool {
        let due = self.team.any(self.saved.elapsed() >= SAVE_EVERY).unwrap_or(false);
        if due {
            self.saved = Instant::now();
        }
        due
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.team.lead(|| write_atomically(&self.file(name), bytes)).map(drop)
    }

    pub(super) fn write_csv<const N: usize>(
        &self,
        name: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<()> {
        let mut text = columns.join(",");
        text.push('\n');
        for row in rows {
            text.push_str(&row.join(","));
            text.push('\n');
        }
        self.write(name, text.as_bytes())
    }

    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let invalid = |error: serde_json::Error| TrainError::Folder {
            path: self.file(name),
            problem: format!("cannot be written as JSON: {error}"),
        };
        let mut text = serde_json::to_string_pretty(value).map_err(invalid)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }
}
