//! Progress of a measurement or a survey: a bar with what is done, the result so far, and the time left.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use gnr_train::{
    measure::{MeasureEvent, MeasureObserver},
    subject::Description,
};
use indicatif::ProgressBar;

use crate::progress::{bar, clock};

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Watches work on a checkpoint whose steps are called `unit`.
pub(crate) struct Watch {
    unit: &'static str,
    /// The text before the time left: `at most ` or nothing.
    bound: &'static str,
    quiet: bool,
    bar: ProgressBar,
    line: Instant,
}

impl Watch {
    /// Watches products, of which there may be fewer than the budget allows.
    pub(crate) fn products(quiet: bool) -> Self {
        Self::new("products", "at most ", quiet)
    }

    /// Watches points, all of which are needed.
    pub(crate) fn points(quiet: bool) -> Self {
        Self::new("points", "", quiet)
    }

    fn new(unit: &'static str, bound: &'static str, quiet: bool) -> Self {
        let bar = bar(quiet, &format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{msg}}"));
        Self { unit, bound, quiet, bar, line: Instant::now() }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // Standard output is for the result alone. A closed pipe is no reason to stop.
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        }
    }
}

impl MeasureObserver for Watch {
    fn on_start(&mut self, subject: &Description) {
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

    fn on_progress(&mut self, event: &MeasureEvent) {
        let MeasureEvent { done, total, since, ref message } = *event;
        tracing::debug!("{done} of {total} {}", self.unit);
        let each = since.0.as_secs_f64() / since.1.max(1) as f64;
        let left = clock(each * total.saturating_sub(done) as f64);
        let message = format!("{message}, {each:.2} s each, {}{left} left", self.bound);
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(message.clone());
        if self.bar.is_hidden() && self.line.elapsed() >= LINE_EVERY {
            self.say(&format!("{done}/{total} {}: {message}", self.unit));
            self.line = Instant::now();
        }
    }
}
