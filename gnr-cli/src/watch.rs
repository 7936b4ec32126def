//! Draws a measurement or a survey: a bar with what is done, what is known so far, and the time left.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use gnr_train::{
    curvature::{CurvatureEvent, CurvatureObserver},
    geometry::{GeometryEvent, GeometryObserver},
    subject::Description,
};
use indicatif::ProgressBar;

use crate::progress::{bar, clock};

/// Seconds between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Watches work on a checkpoint that is counted in `unit`s.
pub(crate) struct Watch {
    unit: &'static str,
    quiet: bool,
    bar: ProgressBar,
    line: Instant,
}

impl Watch {
    /// `unit` is the plural of what is counted.
    pub(crate) fn new(unit: &'static str, quiet: bool) -> Self {
        let bar = bar(quiet, &format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{msg}}"));
        Self { unit, quiet, bar, line: Instant::now() }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // The standard output is the result's. A closed pipe is no reason to stop.
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        }
    }

    fn start(&mut self, subject: &Description) {
        let epoch = subject.epoch.map_or_else(String::new, |epoch| format!(" after epoch {epoch}"));
        self.say(&format!("{} ({}){epoch}", subject.weights, subject.model));
        self.say(&format!("  {}", subject.data));
        self.say(&format!(
            "  {} of {} parameters, BatchNorm {}, {} images at a time, {:?}, {} threads",
            subject.dimension,
            subject.parameters,
            subject.batch_norm,
            subject.batch_size,
            subject.precision,
            subject.threads
        ));
        self.line = Instant::now();
    }

    /// `since` is the time and the count of what this process did. `bound` says what the time left is.
    fn advance(&mut self, done: usize, of: usize, since: (Duration, usize), message: &str, bound: &str) {
        tracing::debug!("{done} of {of} {}", self.unit);
        let each = since.0.as_secs_f64() / since.1.max(1) as f64;
        let left = clock(each * of.saturating_sub(done) as f64);
        let message = format!("{message}, {each:.2} s each, {bound}{left} left");
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(message.clone());
        if self.bar.is_hidden() && self.line.elapsed() >= LINE_EVERY {
            self.say(&format!("{done}/{of} {}: {message}", self.unit));
            self.line = Instant::now();
        }
    }
}

impl CurvatureObserver for Watch {
    fn on_start(&mut self, subject: &Description) {
        self.start(subject);
    }
    fn on_progress(&mut self, event: &CurvatureEvent) {
        // A measurement may end before its budget.
        self.advance(event.num_matvecs, event.budget, event.since, &event.message, "at most ");
    }
}

impl GeometryObserver for Watch {
    fn on_start(&mut self, subject: &Description) {
        self.start(subject);
    }
    fn on_progress(&mut self, event: &GeometryEvent) {
        self.advance(event.done, event.total, event.since, &event.message, "");
    }
}
