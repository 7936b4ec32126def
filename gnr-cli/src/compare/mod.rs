//! The command `gnr compare`: trains one recipe with several methods and reports the comparison.

mod args;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use gnr_study::{
    compare::{Arm, Compare, CompareObserver, CompareOutcome, CompareRequest, Phase, Tuning, known_methods},
    reproduce::quoted,
    runner::{Finished, Run, StudyObserver, Workers},
};
use gnr_train::{EpochMetrics, Recipe, RecipeError, Start, StepEvent, TrainError};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) use args::Arguments;

use crate::{progress::clock, signal::INTERRUPTED, slurm, train::load};

/// The recipe of a comparison without arguments, and of `gnr train` without arguments.
pub(crate) const DEMONSTRATION: &str = "digits-noisy";

/// The default folder of a comparison of this recipe.
pub(crate) fn default_folder(recipe: &Recipe) -> PathBuf {
    PathBuf::from("runs").join(format!("compare-{}", recipe.name))
}

pub(crate) fn compare(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    if arguments.list {
        for (name, what) in known_methods() {
            writeln!(stdout, "{name:12} {what}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = arguments.recipe.as_deref().unwrap_or(DEMONSTRATION);
    let sets = arguments.device.with(&arguments.sets);
    let recipe = |assignments: &[String]| load(name, &[&sets[..], assignments].concat());
    let own = recipe(&[])?;
    let arms = match (arguments.methods.is_empty(), name) {
        (false, _) => arguments.methods.iter().flat_map(|arms| arms.0.clone()).collect(),
        (true, DEMONSTRATION) => Arm::demonstration(),
        (true, _) => Arm::defaults(),
    };
    let folder = arguments.out.clone().unwrap_or_else(|| default_folder(&own));
    let tuning = arguments.tune.map(|tries| Tuning {
        tries: tries as usize,
        seeds: arguments.tune_seeds,
        validation: arguments.tune_validation,
        grids: arguments.grid.clone(),
    });
    let request = CompareRequest {
        arms,
        seeds: arguments.seeds,
        folder: folder.clone(),
        workers: Workers::new(arguments.jobs, arguments.threads),
        shard: arguments.shard,
        tuning,
        sharpness: !arguments.no_sharpness,
        command: command_line(),
    };
    let workers = request.workers;
    let comparison = Compare::plan(request, recipe)?;
    if arguments.dry_run {
        return dry_run(&comparison);
    }
    if let Some(parts) = arguments.slurm {
        comparison.check()?;
        return slurm::submit(parts, &folder);
    }
    let titles: Vec<String> = comparison.recipes()?.into_iter().map(|(title, _)| title).collect();
    if !arguments.quiet {
        let plan = comparison.check()?;
        writeln!(
            stdout,
            "{}: {} methods, {} seeds, {} epochs each; {} at a time on {} {}",
            own.name,
            titles.len(),
            arguments.seeds,
            own.train.epochs,
            workers.jobs,
            workers.threads,
            if workers.threads == 1 { "thread" } else { "threads" },
        )?;
        for line in &plan.data {
            writeln!(stdout, "  {line}")?;
        }
        for line in comparison.dropped() {
            writeln!(stdout, "  {line}")?;
        }
        for line in comparison.grids()? {
            writeln!(stdout, "  tuning {line}")?;
        }
        writeln!(stdout, "  folder: {}", folder.display())?;
    }
    let stop = arguments
        .stop
        .flag("stopping: the runs end after their current step, with a checkpoint (again to stop at once)")?;
    let mut table = Table::new(arguments.quiet, titles, workers.jobs);
    let outcome = comparison.run(&mut table, &stop);
    table.clear();
    match outcome? {
        CompareOutcome::Interrupted => {
            eprintln!("interrupted; every run that had begun left a checkpoint: the same command continues");
            Ok(ExitCode::from(INTERRUPTED))
        }
        CompareOutcome::Waiting { phase, done, of } => {
            let what = match phase {
                Phase::TuningMethods | Phase::TuningOptimizers => "tries",
                Phase::Training => "runs",
            };
            writeln!(
                stdout,
                "this part is done; {done} of {of} {what} are finished. The same command continues when the other parts are done \
                 (without --shard it trains what is left and reports)"
            )?;
            Ok(ExitCode::SUCCESS)
        }
        CompareOutcome::Done(found) => {
            if !arguments.quiet {
                write!(stdout, "\n{}", found.terminal())?;
            }
            for name in ["compare.html", "compare.md", "compare.json", "curves.svg", "curves.png"] {
                writeln!(stdout, "written: {}", folder.join(name).display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn dry_run<L: Fn(&[String]) -> Result<Recipe, RecipeError>>(
    comparison: &Compare<L>,
) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    let plan = comparison.check()?;
    for line in comparison.dropped() {
        writeln!(stdout, "{line}")?;
    }
    for (title, recipe) in comparison.recipes()? {
        let cost = gnr_study::gradients_per_step(&recipe);
        writeln!(stdout, "{title}: about {cost:.1} gradients a step")?;
    }
    for line in comparison.grids()? {
        writeln!(stdout, "tuning {line}")?;
    }
    let runs = comparison.runs()?;
    for run in &runs {
        let state = if run.folder.join("summary.json").is_file() { "finished" } else { "to train" };
        writeln!(stdout, "{state}  {}  {}", run.name, run.folder.display())?;
    }
    let gradients: f64 = runs.iter().map(|run| run.cost * plan.steps_per_epoch as f64).sum();
    for line in &plan.data {
        writeln!(stdout, "{line}")?;
    }
    writeln!(
        stdout,
        "{} runs beside tuning, about {gradients:.0} gradients in all; nothing was trained",
        runs.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The command as it was typed, for a report. Bytes that are not UTF-8 become replacement characters.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    format!("gnr {}", words.collect::<Vec<_>>().join(" "))
}

/// The live table: on a terminal a line for each method, elsewhere a line for each run that ends.
struct Table {
    quiet: bool,
    titles: Vec<String>,
    jobs: usize,
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
    /// The runs of the present phase.
    runs: Vec<RunState>,
    /// Cost and seconds of the runs that this process trained, from which the remaining time is estimated.
    spent: (f64, f64),
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
    /// The last known test (or validation) accuracy, as a fraction.
    accuracy: Option<f64>,
}

impl Table {
    fn new(quiet: bool, titles: Vec<String>, jobs: usize) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(target);
        Self { quiet, titles, jobs, bars, lines: Vec::new(), runs: Vec::new(), spent: (0.0, 0.0) }
    }

    fn clear(&self) {
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

    /// The remaining cost of a run.
    fn left(run: &RunState) -> f64 {
        match (run.ended, run.steps) {
            (true, _) => 0.0,
            (false, 0) => run.cost,
            (false, steps) => run.cost * (1.0 - run.step as f64 / steps as f64).max(0.0),
        }
    }

    /// Estimated seconds for runs of this cost; `None` before anything was trained.
    fn seconds(&self, cost: f64) -> Option<f64> {
        let (mut done, mut seconds) = self.spent;
        for run in self.runs.iter().filter(|run| !run.ended && run.steps > 0) {
            done += run.cost * run.step.saturating_sub(run.before) as f64 / run.steps as f64;
            seconds += run.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        }
        (done > 0.0).then(|| cost * seconds / done / self.jobs as f64)
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
            let cost: f64 = of.iter().map(|run| Self::left(run)).sum();
            let left = match self.seconds(cost) {
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
        let found = metrics.average_test_accuracy.or(metrics.test_accuracy);
        if found.is_some() {
            self.runs[run].accuracy = found;
        }
        self.redraw();
    }

    fn on_run(&mut self, run: usize, how: Finished<'_>) {
        let told = match how {
            Finished::Before => None,
            Finished::Now(summary) => {
                let accuracy = summary.average_test_accuracy.unwrap_or(summary.test_accuracy);
                self.runs[run].accuracy = Some(accuracy);
                let held_out = summary.average_val_accuracy.or(summary.val_accuracy);
                Some(match held_out {
                    Some(held_out) => format!("validation {:.2} %", 100.0 * held_out),
                    None => format!("test {:.2} %", 100.0 * accuracy),
                })
            }
            Finished::Failed(error) => {
                Some(format!("FAILED: {error} (in {})", self.runs[run].folder.display()))
            }
        };
        if matches!(how, Finished::Before) {
            self.runs[run].accuracy = accuracy_of(&self.runs[run].folder);
        }
        let state = &mut self.runs[run];
        state.ended = true;
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
            let cost = self.runs.iter().map(Self::left).sum();
            let left = match self.seconds(cost) {
                Some(seconds) if ended < all => format!("; about {} left", clock(seconds)),
                _ => String::new(),
            };
            let line = format!("[{ended:>3}/{all}] {}: {told}{left}", self.runs[run].name);
            if matches!(how, Finished::Failed(_)) && !self.bars.is_hidden() {
                // The line must stay when the table is cleared.
                self.bars.suspend(|| eprintln!("{line}"));
            } else {
                self.say(&line);
            }
        }
        self.redraw();
    }
}

/// The test accuracy of a run that was finished before.
fn accuracy_of(folder: &Path) -> Option<f64> {
    gnr_study::results::summary(folder).ok()??.method_accuracy()
}

impl CompareObserver for Table {
    fn on_phase(&mut self, phase: Phase, runs: &[Run], arms: &[usize]) {
        self.clear();
        let what = match phase {
            Phase::TuningMethods => "tuning: the methods' own keys",
            Phase::TuningOptimizers => "tuning: learning rate and weight decay",
            Phase::Training => "training",
        };
        let finished = runs.iter().filter(|run| run.folder.join("summary.json").is_file()).count();
        self.say(&format!("{what}: {} runs, {finished} finished before", runs.len()));
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
                accuracy: None,
            })
            .collect();
        for line in self.lines.drain(..) {
            self.bars.remove(&line);
        }
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let mut lines = Vec::new();
        for _ in &self.titles {
            let line = self.bars.add(ProgressBar::new(0));
            line.set_style(style.clone());
            lines.push(line);
        }
        self.lines = lines;
        self.redraw();
    }

    fn on_measured(&mut self, done: usize, of: usize) {
        if let Some(last) = self.lines.last() {
            last.set_message(format!("measuring sharpness: {done} of {of} solutions"));
        }
        if done == of {
            self.say(&format!("measured the sharpness of {of} solutions"));
        }
    }
}
