//! Progress of a run: a bar for the present epoch on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use gnr_train::{BestBy, Engine, EpochMetrics, Observer, Start, StepEvent, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The amount of output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
}

/// A progress bar on a terminal, nothing elsewhere. Its length must still be set.
pub(crate) fn bar(quiet: bool, template: &str) -> ProgressBar {
    let draws = !quiet && std::io::stderr().is_terminal();
    let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

pub(crate) struct Progress {
    verbosity: Verbosity,
    bar: ProgressBar,
    epochs: u64,
    steps_per_epoch: u64,
    /// The time and the number of this process's first step.
    first: Option<(Instant, u64)>,
    start: Instant,
}

impl Progress {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        let bar = bar(verbosity == Verbosity::Quiet, "{prefix} {wide_bar} {pos}/{len} {msg}");
        Self { verbosity, bar, epochs: 0, steps_per_epoch: 0, first: None, start: Instant::now() }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: &str) {
        if self.verbosity == Verbosity::Normal {
            self.bar.suspend(|| {
                // A closed pipe is no reason to stop training.
                let _ = writeln!(std::io::stdout(), "{text}");
            });
        }
    }
}

/// The size of a model in words.
pub(crate) fn parameters(all: usize, learned: usize) -> String {
    if learned == all {
        format!("{all} parameters")
    } else {
        format!("{learned} of {all} parameters learned")
    }
}

impl Observer for Progress {
    fn on_start(&mut self, start: &Start<'_>) {
        self.epochs = start.recipe.train.epochs;
        self.steps_per_epoch = start.steps_per_epoch;
        self.start = Instant::now();
        let (recipe, train) = (start.recipe, &start.recipe.train);
        self.line(&format!(
            "{}: {} ({}), {}, {} epochs of {} steps, {} threads{}",
            recipe.name,
            recipe.model.name,
            parameters(start.parameters, start.learned),
            recipe.method_name(),
            train.epochs,
            start.steps_per_epoch,
            train.threads,
            match train.place() {
                place if place.engine == Engine::default() => String::new(),
                place => format!(", {place}"),
            }
        ));
        for data in &start.data {
            self.line(&format!("  {data}"));
        }
        if let Some(report) = start.weights {
            self.line(&format!("  weights: {report}"));
        }
        let best = match start.best_by {
            BestBy::ValidationAccuracy => "validation accuracy",
            BestBy::TrainLoss => {
                "training loss (nothing is held out; set data.validation to hold images out)"
            }
        };
        self.line(&format!("  best checkpoint by {best}"));
        if start.step > 0 {
            self.line(&format!("  continues after step {}", start.step));
        }
        self.line(&format!("  folder: {}", start.folder.display()));
    }

    fn on_step(&mut self, event: &StepEvent) {
        let (since, first) = *self.first.get_or_insert((Instant::now(), event.step));
        self.bar.set_prefix(format!("epoch {}/{}", event.epoch, self.epochs));
        self.bar.set_length(self.steps_per_epoch);
        self.bar.set_position(event.step_in_epoch);
        let rate = (event.step - first) as f64 / since.elapsed().as_secs_f64().max(1e-9);
        let left = (self.epochs * self.steps_per_epoch).saturating_sub(event.step);
        let eta = if rate > 0.0 { clock(left as f64 / rate) } else { "-".into() };
        self.bar.set_message(format!(
            "loss {:.4} acc {:.2} % {rate:.1} steps/s ETA {eta}",
            event.mean_loss,
            100.0 * event.mean_accuracy
        ));
    }

    fn on_evaluation(&mut self, done: usize, of: usize) {
        self.bar.set_message("evaluating");
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }

    fn on_epoch(&mut self, epoch: &EpochMetrics) {
        let percent = |name: &str, accuracy: Option<f64>| {
            accuracy.map_or_else(String::new, |accuracy| format!("  {name} {:.2} %", 100.0 * accuracy))
        };
        let exchange = epoch.exchange_seconds.zip(epoch.train_seconds).map(|(exchange, of)| exchange / of);
        self.line(&format!(
            "epoch {:>3}/{}  loss {:.4}  train {:.2} %{}{}{}{}  lr {:.4}  |grad| {:.3}  {:.1} s{}",
            epoch.epoch,
            self.epochs,
            epoch.train_loss,
            100.0 * epoch.train_accuracy,
            percent("flipped", epoch.train_accuracy_flipped),
            percent("val", epoch.val_accuracy),
            percent("test", epoch.test_accuracy),
            percent("average", epoch.average_test_accuracy),
            epoch.learning_rate,
            epoch.grad_norm,
            epoch.seconds,
            percent("exchanges", exchange)
        ));
    }

    fn on_checkpoint(&mut self, path: &Path) {
        tracing::debug!(path = %path.display(), "checkpoint written");
    }

    fn on_end(&mut self, summary: &Summary) {
        self.clear();
        self.line(&format!(
            "finished{}: test accuracy {:.2} %, test loss {:.4}, {} of training ({} gradients, {} Hessian-vector products)",
            if summary.epochs < self.epochs {
                format!(" after {} of {} epochs", summary.epochs, self.epochs)
            } else {
                String::new()
            },
            100.0 * summary.test_accuracy,
            summary.test_loss,
            clock(summary.seconds),
            count(summary.gradient_evaluations),
            count(summary.products)
        ));
        if let Some(epoch) = summary.collapsed_at_epoch {
            self.line(&format!(
                "warning: the run has collapsed: at epoch {epoch} and in every evaluation since, every image gets the same output. Try a \
                 smaller optimizer.lr or optimizer.weight_decay, or a weaker method (for GNR a smaller alpha, for SAM a smaller rho)"
            ));
        }
        if let (Some(ranks), Some(share)) = (summary.ranks, summary.exchange_share) {
            self.line(&format!(
                "{ranks} ranks: {:.1} % of the steps' time in exchanges, waiting for the last rank included",
                100.0 * share
            ));
        }
    }
}

/// A number of gradients or products, with tenths where parts of batches were counted.
fn count(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// A duration in seconds, in words.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).map_or(0, |duration| duration.as_secs());
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02} min"),
        (h, m, _) => format!("{h}:{m:02} h"),
    }
}
