//! Draws a measurement: a bar with products, what is known so far, and the time left if all products are needed.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use gnr_train::{
    curvature::{CurvatureEvent, CurvatureObserver},
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
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} products {msg}") {
            bar.set_style(style);
        }
        Self { quiet, bar, line: Instant::now() }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // On the standard error: the standard output is the result's. A closed pipe is no reason to stop.
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        }
    }
}

impl CurvatureObserver for Watch {
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

    fn on_progress(&mut self, event: &CurvatureEvent) {
        let (elapsed, products) = event.since;
        let each = elapsed.as_secs_f64() / products.max(1) as f64;
        let left = clock(each * event.budget.saturating_sub(event.num_matvecs) as f64);
        let message = format!("{}, {each:.2} s each, at most {left} left", event.message);
        self.bar.set_length(event.budget as u64);
        self.bar.set_position(event.num_matvecs as u64);
        self.bar.set_message(message.clone());
        if self.bar.is_hidden() && self.line.elapsed() >= LINE_EVERY {
            self.say(&format!("{}/{} products: {message}", event.num_matvecs, event.budget));
            self.line = Instant::now();
        }
    }
}
