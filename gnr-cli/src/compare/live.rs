//! The output of a comparison while it runs.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use gnr_study::{
    Result,
    compare::{CompareObserver, Phase},
    report::several,
    results::is_finished,
    runner::{Finished, Run, StudyObserver, span},
};
use gnr_train::{EpochMetrics, Start, StepEvent, TrainError};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{output::tell, progress::clock};

/// The live table: on a terminal a line for each method, elsewhere a line for each run that ends.
pub(super) struct Table {
    quiet: bool,
    titles: Vec<String>,
    jobs: usize,
    bars: MultiProgress,
    /// The line above the methods, which names the present phase.
    heading: ProgressBar,
    lines: Vec<ProgressBar>,
    /// Whether the runs are tries, which are judged by held-out images.
    tuning: bool,
    /// The runs of the present phase.
    runs: Vec<RunState>,
    /// Cost and seconds of the runs that this process trained, from which the remaining time is estimated.
    spent: (f64, f64),
    /// Number of solutions whose sharpness this process measured, and the seconds of that.
    measured: (u32, f64),
}

struct RunState {
    name: String,
    folder: PathBuf,
    arm: usize,
    cost: f64,
    /// The time at which this process began to train the run.
    began: Option<Instant>,
    steps: u64,
    /// Number of steps that were done before this process began.
    before: u64,
    step: u64,
    ended: bool,
    /// The time at which this process began to measure the run's sharpness; `None` before and after.
    measuring: Option<Instant>,
    /// Whether nothing is left to do for the run: it is measured, or it failed.
    settled: bool,
    /// The last known accuracy, a fraction: on held-out images for a try, on test images otherwise.
    accuracy: Option<f64>,
}

impl Table {
    pub(super) fn new(quiet: bool, titles: Vec<String>, jobs: usize) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(target);
        Self {
            quiet,
            titles,
            jobs,
            bars,
            heading: ProgressBar::hidden(),
            lines: Vec::new(),
            tuning: false,
            runs: Vec::new(),
            spent: (0.0, 0.0),
            measured: (0, 0.0),
        }
    }

    /// Takes the table off the screen; the next phase draws its own.
    pub(super) fn clear(&mut self) {
        self.heading.finish_and_clear();
        self.lines.drain(..).for_each(|line| line.finish_and_clear());
        // A terminal that cannot be cleared is no reason to fail.
        let _ = self.bars.clear();
    }

    /// Prints a plain line where there is no terminal to draw on.
    fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bars.is_hidden() {
            // A closed pipe is no reason to stop training.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// Adds a line to the table.
    fn line(&self) -> ProgressBar {
        let style =
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(0)).with_style(style)
    }

    /// Prints a line that stays when the table is cleared.
    fn warn(&self, text: &str) {
        if self.bars.is_hidden() {
            self.say(text);
        } else {
            self.bars.suspend(|| tell(text));
        }
    }

    /// The remaining cost of a run.
    fn left(run: &RunState) -> f64 {
        match (run.ended, run.steps) {
            (true, _) => 0.0,
            (false, 0) => run.cost,
            (false, steps) => run.cost * (1.0 - run.step as f64 / steps as f64).max(0.0),
        }
    }

    /// Estimated seconds until these runs are trained and, once it is known how long that takes, measured. `None`
    /// before anything was trained.
    fn seconds<'r>(&'r self, runs: impl Iterator<Item = &'r RunState> + Clone) -> Option<f64> {
        let cost: f64 = runs.clone().map(Self::left).sum();
        let (mut done, mut seconds) = self.spent;
        for run in self.runs.iter().filter(|run| !run.ended && run.steps > 0) {
            done += run.cost * run.step.saturating_sub(run.before) as f64 / run.steps as f64;
            seconds += run.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        }
        let rate = if cost == 0.0 { 0.0 } else { (done > 0.0).then(|| seconds / done)? };
        let each = |run: &RunState| Self::left(run) * rate + self.measuring_left(run);
        Some(span(runs.map(each), self.jobs))
    }

    /// Estimated seconds to measure a run; 0 before a first run was measured.
    fn measuring_left(&self, run: &RunState) -> f64 {
        let (count, seconds) = self.measured;
        let each = seconds / f64::from(count.max(1));
        let spent = run.measuring.map_or(0.0, |began| began.elapsed().as_secs_f64());
        if run.settled { 0.0 } else { (each - spent).max(0.0) }
    }

    fn redraw(&self) {
        let width = self.titles.iter().map(|title| title.chars().count()).max().unwrap_or_default();
        for (arm, line) in self.lines.iter().enumerate() {
            let of: Vec<&RunState> = self.runs.iter().filter(|run| run.arm == arm).collect();
            let ended: Vec<&&RunState> = of.iter().filter(|run| run.ended).collect();
            let known: Vec<f64> = ended.iter().filter_map(|run| run.accuracy).collect();
            let running = of.iter().filter(|run| !run.ended).filter_map(|run| run.accuracy).next_back();
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let accuracy = match (known.is_empty(), running) {
                (false, None) => format!("{:6.2} %", 100.0 * mean(&known)),
                (false, Some(now)) => format!("{:6.2} % (now {:.2} %)", 100.0 * mean(&known), 100.0 * now),
                (true, Some(now)) => format!("now {:.2} %", 100.0 * now),
                (true, None) => "-".into(),
            };
            let left = match self.seconds(of.iter().copied()) {
                _ if of.iter().any(|run| run.measuring.is_some()) => "measuring sharpness".into(),
                _ if ended.len() == of.len() => "done".into(),
                Some(seconds) => format!("about {} left", clock(seconds)),
                None => String::new(),
            };
            line.set_message(format!(
                "{:width$}  {:>2}/{} runs  {accuracy}  {left}",
                self.titles[arm],
                ended.len(),
                of.len()
            ));
        }
    }
}

impl StudyObserver for Table {
    fn on_wait(&mut self, run: usize, error: &TrainError) {
        self.say(&format!("waiting: {error}"));
        let _ = run;
    }

    fn on_start(&mut self, run: usize, start: &Start<'_>) {
        let state = &mut self.runs[run];
        state.began = Some(Instant::now());
        state.steps = start.steps_per_epoch * start.recipe.train.epochs;
        (state.before, state.step) = (start.step, start.step);
    }

    fn on_step(&mut self, run: usize, event: &StepEvent) {
        self.runs[run].step = event.step;
    }

    fn on_epoch(&mut self, run: usize, metrics: &EpochMetrics) {
        let found = if self.tuning {
            metrics.average_val_accuracy.or(metrics.val_accuracy)
        } else {
            metrics.average_test_accuracy.or(metrics.test_accuracy)
        };
        if found.is_some() {
            self.runs[run].accuracy = found;
        }
        self.redraw();
    }

    fn on_run(&mut self, run: usize, how: Finished<'_>) {
        let told = match how {
            Finished::Before => None,
            Finished::Now(summary) => {
                let test = summary.average_test_accuracy.unwrap_or(summary.test_accuracy);
                let held_out = summary.average_val_accuracy.or(summary.val_accuracy);
                let (images, accuracy) = match held_out.filter(|_| self.tuning) {
                    Some(held_out) => ("validation", held_out),
                    None => ("test", test),
                };
                self.runs[run].accuracy = Some(accuracy);
                Some(format!("{images} {:.2} %", 100.0 * accuracy))
            }
            Finished::Failed(error) => {
                Some(format!("FAILED: {error} (in {})", self.runs[run].folder.display()))
            }
        };
        if matches!(how, Finished::Before) {
            self.runs[run].accuracy = accuracy_of(&self.runs[run].folder, self.tuning);
        }
        let state = &mut self.runs[run];
        state.ended = true;
        state.settled = matches!(how, Finished::Failed(_));
        if let Some(began) = state.began {
            let share = if state.steps > 0 {
                state.step.saturating_sub(state.before) as f64 / state.steps as f64
            } else {
                1.0
            };
            self.spent.0 += state.cost * share;
            self.spent.1 += began.elapsed().as_secs_f64();
        }
        if let Some(told) = told {
            let (ended, all) = (self.runs.iter().filter(|run| run.ended).count(), self.runs.len());
            let left = match self.seconds(self.runs.iter()) {
                Some(seconds) if seconds >= 0.5 => format!("; about {} left", clock(seconds)),
                _ => String::new(),
            };
            let line = format!("[{ended:>3}/{all}] {}: {told}{left}", self.runs[run].name);
            if matches!(how, Finished::Failed(_)) {
                self.warn(&line);
            } else {
                self.say(&line);
            }
        }
        self.redraw();
    }

    fn on_follow(&mut self, run: usize) {
        let state = &mut self.runs[run];
        state.measuring = Some(Instant::now());
        if state.began.is_none() {
            // A run of an earlier call has no other line in this call.
            self.say(&format!("{}: measuring sharpness", self.runs[run].name));
        }
        self.redraw();
    }

    fn on_followed(&mut self, run: usize, how: &Result<()>) {
        let state = &mut self.runs[run];
        state.settled = true;
        if let Some(began) = state.measuring.take() {
            self.measured.0 += 1;
            self.measured.1 += began.elapsed().as_secs_f64();
        }
        if let Err(error) = how {
            self.warn(&format!("{}: not measured: {error}", self.runs[run].name));
        }
        self.redraw();
    }
}

/// The accuracy of a run that was finished before: of a try on held-out images, else on test images.
fn accuracy_of(folder: &Path, held_out: bool) -> Option<f64> {
    let summary = gnr_study::results::summary(folder).ok()??;
    if held_out { summary.held_out_accuracy() } else { summary.method_accuracy() }
}

impl CompareObserver for Table {
    fn on_phase(&mut self, phase: Phase, runs: &[Run], arms: &[usize]) {
        self.clear();
        let what = match phase {
            Phase::TuningMethods => "tuning: the methods' own keys",
            Phase::TuningOptimizers => "tuning: learning rate and weight decay",
            Phase::TuningFinalists => "tuning: the best tries with more seeds",
            Phase::Training => "training",
        };
        self.tuning = phase != Phase::Training;
        let finished = runs.iter().filter(|run| is_finished(&run.folder)).count();
        self.say(&format!("{what}: {}, {finished} finished before", several(runs.len() as u64, "run")));
        let images = if self.tuning { "held-out images" } else { "test images" };
        self.heading = self.line();
        self.heading.set_message(format!("{what}; accuracy on {images}"));
        self.runs = runs
            .iter()
            .zip(arms)
            .map(|(run, &arm)| RunState {
                name: run.name.clone(),
                folder: run.folder.clone(),
                arm,
                cost: run.cost,
                began: None,
                steps: 0,
                before: 0,
                step: 0,
                ended: false,
                measuring: None,
                settled: false,
                accuracy: None,
            })
            .collect();
        self.lines = self.titles.iter().map(|_| self.line()).collect();
        self.redraw();
    }

    fn on_measured(&mut self, done: usize, of: usize) {
        let solutions = several(of as u64, "solution");
        self.heading.set_message(format!("measuring sharpness: {done} of {solutions}"));
        if done == 0 {
            self.say(&format!("measuring the sharpness of {solutions}"));
        } else if done == of {
            self.say(&format!("measured the sharpness of {solutions}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has `step` of 10 steps behind it, in this process.
    fn run(step: u64, settled: bool) -> RunState {
        RunState {
            name: String::new(),
            folder: PathBuf::new(),
            arm: 0,
            cost: 2.0,
            began: None,
            steps: 10,
            before: 0,
            step,
            ended: step == 10,
            measuring: None,
            settled,
            accuracy: None,
        }
    }

    #[test]
    fn the_remaining_time_has_training_and_measuring() {
        let mut table = Table::new(true, vec!["SGD".into()], 2);
        table.runs = vec![run(10, true), run(10, false), run(0, false)];
        assert_eq!(table.seconds(table.runs.iter()), None, "nothing was trained yet");
        // Two runs of cost 2 took 40 s, so the third takes 20. The second job cannot help.
        table.spent = (4.0, 40.0);
        assert_eq!(table.seconds(table.runs.iter()), Some(20.0), "how long measuring takes is not known");
        table.measured = (1, 3.0);
        assert_eq!(table.seconds(table.runs.iter()), Some(23.0), "the second run is measured meanwhile");
        table.runs.extend([run(0, false), run(0, false)]);
        assert_eq!(table.seconds(table.runs.iter()), Some(36.0), "3 runs of 23 s and 3 s more, 2 at a time");
        assert_eq!(table.seconds(table.runs.iter().take(1)), Some(0.0), "nothing is left to do");
    }
}
