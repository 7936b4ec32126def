//! Trains what is not trained yet. A run's folder is addressed by its recipe, so a finished run is never repeated, an
//! interrupted one continues where it stopped, and a changed recipe is another run. A failed run does not stop the others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::child::{self, Ended};
use super::data::Located;
use super::plan::Plan;
use super::{lock, recipe, results};
use crate::interrupt::{self, Asked};
use crate::machine::Machine;

/// One training run and where it lives.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// `data/net/method/seed`.
    pub(super) name: String,
    /// Its run folder, written by `gnr train`.
    pub(super) folder: PathBuf,
    /// The recipe as TOML.
    recipe: String,
    cost: f64,
    finished: bool,
}

/// A run that did not finish.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) name: String,
    /// What happened, with the end of the log.
    pub(super) reason: String,
}

/// Kept beside a run folder: which commit trained it, where.
#[derive(Serialize, Deserialize)]
struct MadeBy {
    #[serde(flatten)]
    machine: Machine,
    seconds: f64,
}

impl Run {
    fn beside(&self, extension: &str) -> PathBuf {
        let mut path = self.folder.clone().into_os_string();
        path.push(extension);
        path.into()
    }

    /// The commit that finished this run.
    pub(super) fn commit(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.beside(".made-by.json")).ok()?;
        Some(serde_json::from_str::<MadeBy>(&text).ok()?.machine.commit)
    }

    fn started(&self) -> bool {
        self.folder.is_dir()
    }
}

/// The runs of a plan, in its order; `finished` as found on disk.
///
/// # Errors
/// When a summary cannot be read.
pub(super) fn prepare(plan: &Plan, located: &Located, out: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for case in &plan.cases {
        let net = &plan.nets[case.net];
        // The place of the data is not part of what is trained.
        let address = fnv1a(&recipe::toml(net, case, None)?);
        let name = plan.name(case);
        let folder = out.join("runs").join(format!("{}-{address:016x}", name.replace('/', "-")));
        let finished = results::summary(&folder)?.is_some_and(|summary| summary.finished);
        let place = located.get(&net.dataset).and_then(Option::as_deref);
        runs.push(Run {
            name,
            folder,
            recipe: recipe::toml(net, case, place)?,
            cost: plan.cost(case),
            finished,
        });
    }
    Ok(runs)
}

/// What `--dry-run` prints.
pub(super) fn show(runs: &[Run], jobs: usize) {
    for run in runs {
        let state = match (run.finished, run.started()) {
            (true, _) => "finished",
            (false, true) => "to continue",
            (false, false) => "to train",
        };
        println!("{state:<12} {:<40} {}", run.name, run.folder.display());
    }
    let left = runs.iter().filter(|run| !run.finished).count();
    println!("{left} of {} runs to train, {jobs} at a time", runs.len());
}

/// Trains every run that is not finished, `jobs` at a time, and returns those that failed.
///
/// # Errors
/// When the folder of the runs cannot be made.
pub(super) fn train(runs: &[Run], gnr: &Path, jobs: usize) -> Result<Vec<Failure>> {
    let queue: Vec<&Run> = runs.iter().filter(|run| !run.finished).collect();
    println!(
        "{} runs: {} finished before, {} to train, {jobs} at a time",
        runs.len(),
        runs.len() - queue.len(),
        queue.len()
    );
    if let Some(parent) = queue.first().and_then(|run| run.folder.parent()) {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let machine = Machine::here();
    let progress = Mutex::new(Progress::new(&queue, jobs));
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(queue.len()) {
            scope.spawn(|| {
                while let Some(run) = queue.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if !wait_for_trainer(run) {
                        break;
                    }
                    let started = Instant::now();
                    let Some(outcome) = train_one(run, gnr, &machine).transpose() else {
                        println!("stopped with a checkpoint: {}", run.name);
                        continue;
                    };
                    // A thread that panicked while holding the lock left nothing half done that matters here.
                    let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    progress.done(run, started.elapsed(), outcome);
                }
            });
        }
    });
    Ok(progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).failures)
}

/// Waits while another process trains this run (left behind by one that was killed, or started by hand). False: asked to stop.
fn wait_for_trainer(run: &Run) -> bool {
    let mut told = false;
    while interrupt::asked() == Asked::Nothing {
        let Some(holder) = lock::trainer(&run.folder) else { return true };
        if !told {
            println!("waiting: {holder} is training {} in {}", run.name, run.folder.display());
            told = true;
        }
        std::thread::sleep(child::LOOK);
    }
    false
}

/// The test accuracy as a fraction (where the run knows one); none when the run was interrupted.
fn train_one(run: &Run, gnr: &Path, machine: &Machine) -> Result<Option<Option<f64>>, String> {
    if results::summary(&run.folder).is_ok_and(|summary| summary.is_some_and(|summary| summary.finished)) {
        // By the process that was waited for.
        return Ok(Some(
            results::summary(&run.folder).ok().flatten().and_then(|summary| summary.test_accuracy),
        ));
    }
    let started = Instant::now();
    let (recipe, log) = (run.beside(".toml"), run.beside(".log"));
    let told =
        |what: &str, path: &Path, error: std::io::Error| format!("cannot {what} {}: {error}", path.display());
    std::fs::write(&recipe, &run.recipe).map_err(|error| told("write", &recipe, error))?;
    let output = std::fs::File::create(&log).map_err(|error| told("create", &log, error))?;
    let errors = output.try_clone().map_err(|error| told("write", &log, error))?;
    let mut command = Command::new(gnr);
    command
        .arg("train")
        .arg(&recipe)
        .arg("--out")
        .arg(&run.folder)
        .args(["--resume", "--quiet", "--stop-at-eof"])
        // Runs go side by side; each on one thread, which is also what makes them the same bits again.
        .env("RAYON_NUM_THREADS", "1")
        .stdout(output)
        .stderr(errors);
    let status = match child::run(&mut command).map_err(|error| told("start", gnr, error))? {
        Ended::Itself(status) => status,
        Ended::Interrupted => return Ok(None),
    };
    let end_of_log = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}\n  log: {}", lines[lines.len().saturating_sub(8)..].join("\n"), log.display())
    };
    if !status.success() {
        return Err(format!("{status}\n{}", end_of_log()));
    }
    match results::summary(&run.folder) {
        Ok(Some(summary)) if summary.finished => {
            let made_by = MadeBy { machine: machine.clone(), seconds: started.elapsed().as_secs_f64() };
            let path = run.beside(".made-by.json");
            let text = serde_json::to_string_pretty(&made_by).map_err(|error| error.to_string())?;
            std::fs::write(&path, text).map_err(|error| told("write", &path, error))?;
            Ok(Some(summary.test_accuracy))
        }
        Ok(_) => Err(format!("ended without a finished summary.json\n{}", end_of_log())),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Tells what happened and how long the rest will take.
struct Progress {
    started: Instant,
    jobs: usize,
    runs: usize,
    done: usize,
    cost_left: f64,
    /// Of the runs that ended: cost and seconds, to turn the one into the other.
    spent: (f64, f64),
    failures: Vec<Failure>,
}

impl Progress {
    fn new(queue: &[&Run], jobs: usize) -> Self {
        Self {
            started: Instant::now(),
            jobs,
            runs: queue.len(),
            done: 0,
            cost_left: queue.iter().map(|run| run.cost).sum(),
            spent: (0.0, 0.0),
            failures: Vec::new(),
        }
    }

    fn done(&mut self, run: &Run, time: Duration, outcome: Result<Option<f64>, String>) {
        self.done += 1;
        self.cost_left -= run.cost;
        let told = match outcome {
            Ok(accuracy) => {
                self.spent.0 += run.cost;
                self.spent.1 += time.as_secs_f64();
                accuracy.map_or_else(|| "no test accuracy".to_string(), |x| format!("{:.2} %", 100.0 * x))
            }
            Err(reason) => {
                self.failures.push(Failure { name: run.name.clone(), reason: reason.clone() });
                format!("FAILED: {}", reason.trim_end().replace('\n', "\n    "))
            }
        };
        let left = match self.remaining() {
            Some(left) if self.done < self.runs => format!("about {} left", short(left)),
            _ => format!("{} in all", short(self.started.elapsed().as_secs_f64())),
        };
        println!(
            "[{:>3}/{}] {:<38} {told} in {:.1} s; {left}",
            self.done,
            self.runs,
            run.name,
            time.as_secs_f64()
        );
    }

    /// Seconds.
    fn remaining(&self) -> Option<f64> {
        let (cost, seconds) = self.spent;
        (cost > 0.0)
            .then(|| self.cost_left.max(0.0) * seconds / cost / self.jobs.min(self.runs).max(1) as f64)
    }
}

fn short(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// FNV-1a, 64 bits: an address that is the same on every machine and compiler (`DefaultHasher` does not promise that).
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_fnv1a() {
        // Published test vectors.
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn remaining_time_follows_cost_and_jobs() {
        let run =
            Run { name: "a".into(), folder: "a".into(), recipe: String::new(), cost: 2.0, finished: false };
        let queue = [&run, &run, &run];
        let mut progress = Progress::new(&queue, 2);
        assert_eq!(progress.remaining(), None, "nothing known yet");
        progress.done(&run, Duration::from_secs(10), Ok(Some(0.5)));
        assert_eq!(progress.remaining(), Some(10.0), "4 of cost left at 5 s each, 2 at a time");
        progress.done(&run, Duration::from_secs(1), Err("exit status 1".into()));
        assert_eq!((progress.remaining(), progress.failures.len()), (Some(5.0), 1));
    }
}
