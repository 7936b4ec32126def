//! Draws a survey: a bar with points, what is known so far, the time left.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use gnr_train::{
    geometry::{GeometryEvent, GeometryObserver},
    subject::Description,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::clock;

/// Seconds between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Watch {
    quiet: bool,
    bar: ProgressBar,
    line: Instant,
}

impl Watch {
    pub(crate) fn new(quiet: bool) -> Self {
        let draws = !quiet && std::io::stderr().is_terminal();
        let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} points {msg}") {
            bar.set_style(style);
        }
        Self { quiet, bar, line: Instant::now() }
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
}

impl GeometryObserver for Watch {
    fn on_start(&mut self, subject: &Description) {
        let epoch = subject.epoch.map_or_else(String::new, |epoch| format!(" after epoch {epoch}"));
        self.say(&format!("{} ({}){epoch}", subject.weights, subject.model));
        self.say(&format!("  {}, BatchNorm {}", subject.data, subject.batch_norm));
        self.line = Instant::now();
    }

    fn on_progress(&mut self, event: &GeometryEvent) {
        let (elapsed, points) = event.since;
        let each = elapsed.as_secs_f64() / points.max(1) as f64;
        let left = clock(each * event.total.saturating_sub(event.done) as f64);
        let message = format!("{}, {each:.2} s each, {left} left", event.message);
        self.bar.set_length(event.total as u64);
        self.bar.set_position(event.done as u64);
        self.bar.set_message(message.clone());
        if self.bar.is_hidden() && self.line.elapsed() >= LINE_EVERY {
            self.say(&format!("{}/{} points: {message}", event.done, event.total));
            self.line = Instant::now();
        }
    }
}
