//! The command `gnr sweep`: searches over recipe keys.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Args;
use gnr_study::{
    Shard,
    compare::Arm,
    runner::{Finished, Run, StudyObserver, Workers},
    sweep::{Axis, Sweep, SweepOutcome, SweepRequest, SweepResult},
};
use gnr_train::Start;

use crate::{
    args::positive,
    compare::no_seed,
    device::OnDevice,
    output::{patient, tell},
    progress::clock,
    signal::{INTERRUPTED, Stop},
    slurm,
    train::load,
};

/// Search over recipe keys on held-out images
///
/// Trains every combination of the grid on nine tenths of the training images (unless the recipe sets data.validation)
/// and chooses by the accuracy on the rest; the test images decide nothing. The same command continues an interrupted
/// sweep: finished runs are kept, begun ones resume. Writes sweep.json, heatmap.html and chosen.toml, a recipe with the
/// chosen values. Exit code: 0 done, 130 interrupted, 1 error (a run that fails alone is told, and is an empty cell).
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr sweep                                            the paper's grids of rho and alpha on the embedded digits\n  \
    gnr sweep digits --grid method.gnr.rho=0.05,0.1,0.2 --grid method.gnr.alpha=0.1,1 --set train.epochs=5\n  \
    gnr sweep my.toml --grid optimizer.lr=0.03,0.1,0.3 --seeds 3 --jobs 4 --out runs/lr\n  \
    gnr sweep digits --method asam                       the radius of ASAM\n  \
    gnr sweep my.toml --seeds 3 --slurm 16 --out SHARED   a job array of 16 parts, and the result after them\n  \
    gnr train runs/lr/chosen.toml")]
pub(crate) struct Arguments {
    /// A TOML file, or the name of a built-in recipe [default: digits]
    pub(crate) recipe: Option<String>,
    /// The method to search for, as `gnr compare --methods` names it: a regulariser or an optimiser that `gnr methods`
    /// lists, or several with + between them [default: the recipe's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<Arm>,
    /// A key and the values to try; may be repeated [default: what `gnr compare --tune` searches of --method; without
    /// it the paper's grids of method.gnr.rho and method.gnr.alpha]
    #[arg(long = "grid", value_name = "SECTION.KEY=VALUE,VALUE,...")]
    pub(crate) grid: Vec<Axis>,
    /// Set a key of the recipe for all runs; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Seeds (0, 1, ...) of each combination
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Runs at a time [default: as many as there are cores]
    #[arg(long, value_parser = positive)]
    pub(crate) jobs: Option<usize>,
    /// Threads of each run; 0: the cores shared among the runs
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Folder of the sweep [default: runs/sweep-RECIPE]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Train part i of n only, as 1/4; parts share --out on a common disk. Without --shard: what is left, and the
    /// result
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Write a Slurm job array of so many parts and a job that reports after them, and submit both where there is an
    /// sbatch
    #[arg(long, value_name = "PARTS", value_parser = positive, conflicts_with = "shard")]
    pub(crate) slurm: Option<usize>,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// List the runs and what is finished, check data and model, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) fn sweep(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let name = arguments.recipe.as_deref().unwrap_or("digits");
    let sets = arguments.device.with(&arguments.sets);
    no_seed(&arguments.sets)?;
    let given = |assignments: &[String]| load(name, &[&sets[..], assignments].concat());
    let plain = given(&[])?;
    let method =
        arguments.method.as_ref().map_or_else(Vec::new, |arm| arm.over_grid(&plain, &arguments.grid));
    let recipe = |assignments: &[String]| given(&[&method[..], assignments].concat());
    let own = recipe(&[])?;
    let unaveraged = plain.train.average.is_some() && own.train.average.is_none();
    let folder = arguments.out.unwrap_or_else(|| PathBuf::from("runs").join(format!("sweep-{}", own.name)));
    let axes = match &arguments.method {
        _ if !arguments.grid.is_empty() => arguments.grid.clone(),
        None => vec![Axis::paper_rho(), Axis::paper_alpha()],
        // An optimiser alone has a learning rate and a weight decay to search over.
        Some(_) => {
            Some(Arm::axes(&own)).filter(|axes| !axes.is_empty()).unwrap_or_else(|| Arm::optimizer_axes(&own))
        }
    };
    let request = SweepRequest {
        axes,
        seeds: arguments.seeds,
        folder: folder.clone(),
        workers: Workers::new(arguments.jobs, arguments.threads),
        shard: arguments.shard,
    };
    let jobs = request.workers.jobs;
    let grid: Vec<String> = request.axes.iter().map(Axis::to_string).collect();
    let sweep = Sweep::plan(request, recipe)?;
    let mut stdout = patient();
    let finished = sweep.runs().iter().filter(|run| Sweep::is_finished(run)).count();
    if unaveraged && !arguments.quiet {
        writeln!(stdout, "without train.average of the recipe; a --method with +ema averages its weights")?;
    }
    if arguments.dry_run {
        return dry_run(&sweep, own.train.epochs);
    }
    if let Some(parts) = arguments.slurm {
        sweep.check()?;
        return slurm::submit(parts, &folder);
    }
    if !arguments.quiet {
        for axis in grid {
            writeln!(stdout, "{axis}")?;
        }
        writeln!(stdout, "{} runs, {finished} finished before, {jobs} at a time", sweep.len())?;
        writeln!(stdout, "folder: {}", folder.display())?;
    }
    let stop = Stop::default()
        .flag("stopping: the runs end after their current step, with a checkpoint (again to stop at once)")?;
    let mine = sweep.mine();
    let (quiet, runs) = (arguments.quiet, &mine[..]);
    let (start, warned) = (Instant::now(), BTreeSet::new());
    let to_train = runs.iter().filter(|run| !Sweep::is_finished(run)).count();
    let mut progress = Progress { quiet, runs, start, done: 0, to_train, trained: 0, warned };
    let outcome = sweep.run(&mut progress, &stop)?;
    report(outcome, &folder)
}

/// Lists the runs and what is finished, after a check of data and model.
fn dry_run(sweep: &Sweep, epochs: u64) -> anyhow::Result<ExitCode> {
    let mut stdout = patient();
    let images = sweep.check()?;
    let range = match (images.iter().min(), images.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (least, _) => least.map_or_else(|| "no".into(), usize::to_string),
    };
    // Without --shard the part is all of it.
    let mine = sweep.mine();
    for run in &mine {
        let state = if Sweep::is_finished(run) { "finished" } else { "to train" };
        writeln!(stdout, "{state}  {}  {}", run.name, run.folder.display())?;
    }
    let runs = match mine.len() {
        all if all == sweep.len() => format!("{all} runs"),
        part => format!("{part} of {} runs", sweep.len()),
    };
    let finished = mine.iter().filter(|run| Sweep::is_finished(run)).count();
    writeln!(
        stdout,
        "{runs} of {epochs} epochs, {finished} finished; {range} validation images; nothing was trained"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Says how the sweep ended, and where its files are.
fn report(outcome: SweepOutcome, folder: &Path) -> anyhow::Result<ExitCode> {
    let mut stdout = patient();
    match outcome {
        SweepOutcome::Interrupted => {
            tell("interrupted; every run that had begun left a checkpoint: the same command continues");
            Ok(ExitCode::from(INTERRUPTED))
        }
        SweepOutcome::Waiting { done, of, missing } => {
            writeln!(stdout, "this part is done; {done} of {of} runs are finished, missing:")?;
            for name in missing {
                writeln!(stdout, "  {name}")?;
            }
            writeln!(stdout, "without --shard the same command trains what is left and chooses")?;
            Ok(ExitCode::SUCCESS)
        }
        SweepOutcome::Done(found) => {
            write!(stdout, "{}", table(&found))?;
            writeln!(stdout, "{}", found.words())?;
            for name in ["sweep.json", "heatmap.html", "chosen.toml"] {
                writeln!(stdout, "written: {}", folder.join(name).display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The validation accuracies as tables: the first axis down, the second across, one table for each combination of the
/// others.
fn table(found: &SweepResult) -> String {
    let columns = found.axes.get(1).map_or(1, |axis| axis.values.len());
    let rows = found.axes[0].values.len();
    let rest = found.points.len() / (rows * columns);
    let mut text = String::new();
    for other in 0..rest {
        let at = |row: usize, column: usize| (row * columns + column) * rest + other;
        let others = &found.points[at(0, 0)].values[found.axes.len().min(2)..];
        let keys = found.axes.iter().skip(2).map(|axis| axis.short());
        let title: Vec<String> = keys.zip(others).map(|(key, value)| format!("{key}={value}")).collect();
        text += &format!("\nvalidation accuracy, %  {}\n", title.join(" "));
        let corner = match found.axes.get(1) {
            Some(axis) => format!("{} \\ {}", found.axes[0].short(), axis.short()),
            None => found.axes[0].short().to_owned(),
        };
        text += &format!("{corner:>16}");
        for column in 0..columns {
            let label = found.axes.get(1).map_or_else(String::new, |axis| axis.label(column));
            text += &format!("{label:>9}");
        }
        text += "\n";
        for row in 0..rows {
            text += &format!("{:>16}", found.axes[0].label(row));
            for column in 0..columns {
                let index = at(row, column);
                let cell = match found.points[index].mean {
                    Some(mean) => {
                        format!("{:.2}{}", 100.0 * mean, if index == found.best { "*" } else { "" })
                    }
                    None => "failed".into(),
                };
                text += &format!("{cell:>9}");
            }
            text += "\n";
        }
    }
    text + "\n"
}

struct Progress<'a> {
    quiet: bool,
    runs: &'a [Run],
    start: Instant,
    /// Number of runs that have ended, those of earlier calls included.
    done: usize,
    /// Number of runs that were not finished when this call began.
    to_train: usize,
    /// Number of runs that ended in this call.
    trained: usize,
    /// The warnings that were printed: most of them repeat in every run.
    warned: BTreeSet<String>,
}

impl Progress<'_> {
    /// Estimated seconds until every run has ended. Runs that were finished before take no time. `None` if nothing is
    /// left, or nothing was trained yet.
    fn left(&self) -> Option<f64> {
        let left = self.to_train.saturating_sub(self.trained);
        let each = self.start.elapsed().as_secs_f64() / self.trained as f64;
        (left > 0 && self.trained > 0).then_some(each * left as f64)
    }
}

impl StudyObserver for Progress<'_> {
    fn on_start(&mut self, run: usize, start: &Start<'_>) {
        for line in start.data.iter().filter(|line| line.starts_with("warning: ")) {
            if self.warned.insert(line.clone()) && !self.quiet {
                let _ = writeln!(std::io::stdout(), "{line} ({})", self.runs[run].name);
            }
        }
    }

    fn on_run(&mut self, run: usize, how: Finished<'_>) {
        self.done += 1;
        let (done, of, Run { name, folder, .. }) = (self.done, self.runs.len(), &self.runs[run]);
        let told = match how {
            Finished::Before => return,
            Finished::Now(summary) => {
                // Like the table: the averaged weights count where the run averages.
                let validation = summary.average_val_accuracy.or(summary.val_accuracy).unwrap_or_default();
                format!("validation {:.2} %", 100.0 * validation)
            }
            Finished::Failed(error) => format!("FAILED: {error} (in {})", folder.display()),
        };
        self.trained += 1;
        if self.quiet && !matches!(how, Finished::Failed(_)) {
            return;
        }
        let left = self.left().map_or_else(String::new, |left| format!("; about {} left", clock(left)));
        // A closed pipe is no reason to stop training.
        let _ = writeln!(std::io::stdout(), "[{done:>3}/{of}] {name}: {told}{left}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn runs_that_were_finished_before_take_no_time() {
        let run = |name: &str| Run {
            name: name.into(),
            folder: PathBuf::from(name),
            recipe: gnr_train::Recipe::default(),
            cost: 1.0,
        };
        let runs = ["a", "b", "c", "d"].map(run);
        let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        // Two of the four were finished before and are passed later in the order.
        let mut progress = Progress {
            quiet: true,
            runs: &runs,
            start,
            done: 1,
            to_train: 2,
            trained: 1,
            warned: BTreeSet::new(),
        };
        let left = progress.left().unwrap();
        assert!((10.0..11.0).contains(&left), "{left}");
        progress.on_run(3, Finished::Before);
        assert_eq!((progress.done, progress.trained), (2, 1));
        progress.trained = 2;
        assert_eq!(progress.left(), None);
    }
}
