//! The command `gnr sweep`: searches over recipe keys.

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::ExitCode, time::Instant};

use gnr_study::{
    compare::Arm,
    runner::{Finished, Run, StudyObserver, Workers},
    sweep::{Axis, Sweep, SweepOutcome, SweepRequest, SweepResult},
};

use gnr_train::Start;

use crate::{
    args,
    progress::clock,
    signal::{INTERRUPTED, Stop},
    slurm,
    train::load,
};

pub(crate) fn sweep(arguments: args::Sweep) -> anyhow::Result<ExitCode> {
    let name = arguments.recipe.as_deref().unwrap_or("digits");
    let sets = arguments.device.with(&arguments.sets);
    let given = |assignments: &[String]| load(name, &[&sets[..], assignments].concat());
    let method =
        arguments.method.as_ref().map_or(Ok(Vec::new()), |arm| given(&[]).map(|own| arm.over(&own)))?;
    let recipe = |assignments: &[String]| given(&[&method[..], assignments].concat());
    let own = recipe(&[])?;
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
    let mut stdout = std::io::stdout();
    let finished = sweep.runs().iter().filter(|run| Sweep::is_finished(run)).count();
    if arguments.dry_run {
        let images = sweep.check()?;
        for run in sweep.runs() {
            let state = if Sweep::is_finished(run) { "finished" } else { "to train" };
            writeln!(stdout, "{state}  {}  {}", run.name, run.folder.display())?;
        }
        writeln!(
            stdout,
            "{} runs of {} epochs, {finished} finished; {images} validation images; nothing was trained",
            sweep.len(),
            own.train.epochs
        )?;
        return Ok(ExitCode::SUCCESS);
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
    let mut progress = Progress { quiet, runs, start, done: 0, trained: 0, warned };
    match sweep.run(&mut progress, &stop)? {
        SweepOutcome::Interrupted => {
            eprintln!("interrupted; every run that had begun left a checkpoint: the same command continues");
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
    /// Number of runs that ended in this call.
    trained: usize,
    /// The warnings that were printed: most of them repeat in every run.
    warned: BTreeSet<String>,
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
                let validation = summary.val_accuracy.unwrap_or_default();
                format!("validation {:.2} %", 100.0 * validation)
            }
            Finished::Failed(error) => format!("FAILED: {error} (in {})", folder.display()),
        };
        self.trained += 1;
        if self.quiet && !matches!(how, Finished::Failed(_)) {
            return;
        }
        // Runs that were finished before took no time now.
        let each = self.start.elapsed().as_secs_f64() / self.trained as f64;
        let left = if done < of {
            format!("; about {} left", clock(each * (of - done) as f64))
        } else {
            String::new()
        };
        // A closed pipe is no reason to stop training.
        let _ = writeln!(std::io::stdout(), "[{done:>3}/{of}] {name}: {told}{left}");
    }
}
