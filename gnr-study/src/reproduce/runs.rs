//! Trains what is not trained yet. A run's folder is addressed by its recipe, so a finished run is never repeated, an
//! interrupted one continues where it stopped, and a changed recipe is another run. A failed run does not stop the others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::child::{self, Ended};
use super::data::Located;
use super::plan::{Case, Net, Plan, Start};
use super::progress::Progress;
use super::recipe::{self, Placement};
use super::{lock, results};
use crate::interrupt::{self, Asked};
use crate::machine::Machine;

/// One training run and where it lives.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// `data/net/method/seed`.
    pub(super) name: String,
    /// Its run folder, written by `gnr train`.
    pub(super) folder: PathBuf,
    /// What it trains.
    pub(super) net: Net,
    pub(super) case: Case,
    /// Folder of the data and file of the weights.
    data: Option<PathBuf>,
    weights: Option<PathBuf>,
    /// To compare runs.
    pub(super) cost: f64,
    /// In gradients of a batch.
    pub(super) gradients: f64,
    pub(super) finished: bool,
}

/// A run that did not finish.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) name: String,
    /// What happened, with the end of the log.
    pub(super) reason: String,
}

/// How runs are trained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule<'a> {
    /// The `gnr` program.
    pub(super) gnr: &'a Path,
    /// Runs at a time.
    pub(super) jobs: usize,
    /// Threads of each.
    pub(super) threads: usize,
}

/// Kept beside a run folder: which commit trained it, where.
#[derive(Serialize, Deserialize)]
struct MadeBy {
    #[serde(flatten)]
    machine: Machine,
    seconds: f64,
}

impl Run {
    /// A file beside the run folder: `.toml` the recipe that `gnr` was given, `.log` what it said, `.made-by.json` where.
    pub(super) fn beside(folder: &Path, extension: &str) -> PathBuf {
        let mut path = folder.to_path_buf().into_os_string();
        path.push(extension);
        path.into()
    }

    /// The commit that finished this run.
    pub(super) fn commit(&self) -> Option<String> {
        commit(&self.folder)
    }

    pub(super) fn started(&self) -> bool {
        self.folder.is_dir()
    }

    /// Where its data and weights lie.
    pub(super) fn placement(&self) -> Placement<'_> {
        Placement { data: self.data.as_deref(), weights: self.weights.as_deref(), threads: None }
    }
}

/// The commit that finished the run in a folder: what `gnr` says it was built from, else the commit here at that time. Changes that
/// were not committed are told where both are the same.
pub(super) fn commit(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Summary {
        commit: Option<String>,
    }
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let made_by = read(&Run::beside(folder, ".made-by.json"));
    let here = made_by.and_then(|text| Some(serde_json::from_str::<MadeBy>(&text).ok()?.machine.commit));
    let summary = read(&folder.join("summary.json"));
    let built = summary.and_then(|text| serde_json::from_str::<Summary>(&text).ok()?.commit);
    match (built, here) {
        (Some(built), Some(here)) if here.starts_with(&built) => Some(here),
        (built, here) => built.or(here),
    }
}

/// Below the folder of a reproduction: one folder a run.
pub(super) const RUNS: &str = "runs";

/// The runs of a plan, in its order; `finished` as found on disk.
///
/// # Errors
/// When a summary cannot be read.
pub(super) fn prepare(plan: &Plan, located: &Located, out: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for &case in &plan.cases {
        let net = &plan.nets[case.net];
        let name = plan.name(&case);
        let folder = folder(out, &name, &recipe::identity(net, &case)?);
        let weights = match net.start {
            Start::Random => None,
            Start::Weights(file) => located.weights.get(file).cloned(),
            Start::OwnPretraining => {
                Some(pretrained(net, out)?.1.join("checkpoints").join("last.safetensors"))
            }
        };
        runs.push(Run {
            finished: results::summary(&folder)?.is_some_and(|summary| summary.finished),
            name,
            folder,
            net: net.clone(),
            case,
            data: located.sets.get(&net.dataset).cloned().flatten(),
            weights,
            cost: plan.cost(&case),
            gradients: plan.gradients(&case),
        });
    }
    Ok(runs)
}

fn folder(out: &Path, name: &str, identity: &str) -> PathBuf {
    out.join(RUNS).join(format!("{}-{:016x}", name.replace('/', "-"), fnv1a(identity)))
}

/// Name and folder of the run whose weights a net starts from.
fn pretrained(net: &Net, out: &Path) -> Result<(String, PathBuf)> {
    let name = format!("{}/pretraining", net.slug());
    let folder = folder(out, &name, &recipe::pretraining(net, Placement::default())?);
    Ok((name, folder))
}

/// Trains every run that is not finished, and returns those that failed.
///
/// # Errors
/// When the folder of the runs cannot be made, or a run that others start from fails.
pub(super) fn train(runs: &[Run], schedule: &Schedule<'_>) -> Result<Vec<Failure>> {
    let jobs = schedule.jobs;
    let mut queue: Vec<&Run> = runs.iter().filter(|run| !run.finished).collect();
    println!(
        "{} runs: {} finished before, {} to train, {jobs} at a time on {} {}",
        runs.len(),
        runs.len() - queue.len(),
        queue.len(),
        schedule.threads,
        if schedule.threads == 1 { "thread each" } else { "threads each" },
    );
    if let Some(parent) = queue.first().and_then(|run| run.folder.parent()) {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let machine = Machine::here();
    pretrain(&queue, schedule, &machine)?;
    longest_first(&mut queue);
    let progress = Mutex::new(Progress::new(&queue, jobs));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(queue.len()) {
            scope.spawn(|| {
                while let Some(run) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !wait_for_trainer(&run.name, &run.folder) {
                        break;
                    }
                    let started = Instant::now();
                    let text = |threads| {
                        recipe::toml(
                            &run.net,
                            &run.case,
                            Placement { threads: Some(threads), ..run.placement() },
                        )
                    };
                    let outcome = train_one(&run.folder, text, schedule, &machine);
                    let Some(outcome) = outcome.transpose() else {
                        println!("stopped with a checkpoint: {}", run.name);
                        continue;
                    };
                    let full = outcome.as_ref().is_err_and(|reason| disk_is_full(reason));
                    // A thread that panicked while holding the lock left nothing half done that matters here.
                    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                    progress.done(run, started.elapsed(), outcome);
                    if full {
                        // Every other run would meet it too.
                        println!(
                            "the disk is full: nothing more is started; make room and run the command again"
                        );
                        next.store(queue.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(progress.into_inner().unwrap_or_else(PoisonError::into_inner).failures)
}

/// Whether a run failed for want of room, by the system's words for it (in English: `gnr` and Rust do not translate them).
fn disk_is_full(reason: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| reason.contains(words))
}

/// Within a seed the longest runs first: a long one that comes last keeps a single core busy. Seeds stay in their order, so
/// that an interrupted reproduction has whole comparisons.
fn longest_first(queue: &mut [&Run]) {
    queue.sort_by(|a, b| a.case.seed.cmp(&b.case.seed).then(b.cost.total_cmp(&a.cost)));
}

/// Makes the weights that runs of [`Start::OwnPretraining`] start from.
fn pretrain(queue: &[&Run], schedule: &Schedule<'_>, machine: &Machine) -> Result<()> {
    for run in queue.iter().filter(|run| run.net.start == Start::OwnPretraining) {
        let out = run.folder.ancestors().nth(2).unwrap_or(Path::new("."));
        let (name, folder) = pretrained(&run.net, out)?;
        if !wait_for_trainer(&name, &folder) {
            return Ok(());
        }
        let text =
            |threads| recipe::pretraining(&run.net, Placement { threads: Some(threads), ..run.placement() });
        if let Err(reason) = train_one(&folder, text, schedule, machine) {
            bail!("{name}, which others start from, failed: {reason}");
        }
    }
    Ok(())
}

/// Waits while another process trains this run (left behind by one that was killed, or started by hand). False: asked to stop.
fn wait_for_trainer(name: &str, folder: &Path) -> bool {
    let mut told = false;
    while interrupt::asked() == Asked::Nothing {
        let Some(holder) = lock::trainer(folder) else { return true };
        if !told {
            println!("waiting: {holder} is training {name} in {}", folder.display());
            told = true;
        }
        std::thread::sleep(child::LOOK);
    }
    false
}

/// The test accuracy as a fraction (where the run knows one); none when the run was interrupted.
fn train_one(
    folder: &Path,
    recipe: impl Fn(usize) -> Result<String>,
    schedule: &Schedule<'_>,
    machine: &Machine,
) -> Result<Option<Option<f64>>, String> {
    let finished = || results::summary(folder).map(|summary| summary.filter(|summary| summary.finished));
    if let Ok(Some(summary)) = finished() {
        // By a process that was waited for, or for another run that starts from it.
        return Ok(Some(summary.test_accuracy));
    }
    let started = Instant::now();
    let (path, log) = (Run::beside(folder, ".toml"), Run::beside(folder, ".log"));
    let told =
        |what: &str, path: &Path, error: std::io::Error| format!("cannot {what} {}: {error}", path.display());
    // A run goes on with as many threads as it started with: only so is it the same, bit for bit.
    let threads = if folder.join("recipe.toml").is_file() { 0 } else { schedule.threads };
    let text = recipe(threads).map_err(|error| format!("{error:#}"))?;
    std::fs::write(&path, text).map_err(|error| told("write", &path, error))?;
    let output = std::fs::File::create(&log).map_err(|error| told("create", &log, error))?;
    let errors = output.try_clone().map_err(|error| told("write", &log, error))?;
    let mut command = Command::new(schedule.gnr);
    command
        .arg("train")
        .arg(&path)
        .arg("--out")
        .arg(folder)
        .args(["--resume", "--quiet", "--stop-at-eof"])
        .stdout(output)
        .stderr(errors);
    let status = match child::run(&mut command).map_err(|error| told("start", schedule.gnr, error))? {
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
    match finished() {
        Ok(Some(summary)) => {
            let made_by = MadeBy { machine: machine.clone(), seconds: started.elapsed().as_secs_f64() };
            let path = Run::beside(folder, ".made-by.json");
            let text = serde_json::to_string_pretty(&made_by).map_err(|error| error.to_string())?;
            std::fs::write(&path, text).map_err(|error| told("write", &path, error))?;
            Ok(Some(summary.test_accuracy))
        }
        Ok(None) => Err(format!("ended without a finished summary.json\n{}", end_of_log())),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// FNV-1a, 64 bits: an address that is the same on every machine and compiler (`DefaultHasher` does not promise that).
pub(super) fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Scale, Table};
    use super::*;

    #[test]
    fn addresses_are_fnv1a() {
        // Published test vectors.
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_run_of_two_tables_is_one_run() {
        let folders = |table| -> Vec<PathBuf> {
            let plan = Plan::table(table, Scale::Small, 1);
            let runs = prepare(&plan, &Located::default(), Path::new("out")).unwrap();
            runs.into_iter().map(|run| run.folder).collect()
        };
        let (one, four) = (folders(Table::One), folders(Table::Four));
        let shared = four.iter().filter(|folder| one.contains(folder)).count();
        assert_eq!(shared, 2 * 4, "of both nets, SGD and SAM, without GNR and with it on every step");
    }

    #[test]
    fn a_run_was_trained_by_the_commit_of_its_program() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("run");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(commit(&folder), None);
        let here = |commit: &str| {
            let machine = Machine { commit: commit.into(), ..Machine::here() };
            let text = serde_json::to_string(&MadeBy { machine, seconds: 1.0 }).unwrap();
            std::fs::write(Run::beside(&folder, ".made-by.json"), text).unwrap();
            super::commit(&folder).unwrap()
        };
        assert_eq!(here("aaaa"), "aaaa", "a program that does not say");
        std::fs::write(folder.join("summary.json"), r#"{"finished":true,"commit":"bbbb"}"#).unwrap();
        assert_eq!(here("aaaa+changes"), "bbbb", "a program built elsewhere");
        assert_eq!(here("bbbb+changes"), "bbbb+changes");
    }

    #[test]
    fn the_longest_of_a_seed_is_first() {
        let plan = Plan::table(Table::Four, Scale::Smoke, 2);
        let runs = prepare(&plan, &Located::default(), Path::new("out")).unwrap();
        let mut queue: Vec<&Run> = runs.iter().collect();
        longest_first(&mut queue);
        let half = queue.len() / 2;
        assert!(queue[..half].iter().all(|run| run.case.seed == 0));
        assert!(queue[..half].is_sorted_by(|a, b| a.cost >= b.cost));
    }
}
