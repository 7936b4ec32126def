//! Trains many runs, several at a time. Each is an ordinary run folder: resumable, locked, finished once, never
//! repeated.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use gnr_train::{
    EpochMetrics, Existing, Observer, Outcome, Recipe, Start, StepEvent, Summary, TrainError, is_run, train,
};

use crate::{error::Result, lock::LOOK, origin::check_images, results::is_finished};

/// One training run of a study.
#[derive(Clone, Debug)]
pub struct Run {
    /// The name for people, unique within the study.
    pub name: String,
    /// The run folder.
    pub folder: PathBuf,
    /// Everything that decides the run. `train.threads` is set by [`Workers`].
    pub recipe: Recipe,
    /// Expected work, in any unit that all runs of the study share. [`Shard`](crate::Shard) balances it and estimates
    /// of the remaining time follow it.
    pub cost: f64,
}

/// The number of runs that are trained at a time, and the number of threads of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Number of runs at a time, at least 1.
    pub jobs: usize,
    /// Number of threads of each run, at least 1.
    pub threads: usize,
}

impl Workers {
    /// `jobs` runs at a time (`None`: one a core) with `threads` threads each (0: the cores shared among the jobs).
    pub fn new(jobs: Option<usize>, threads: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let jobs = jobs.unwrap_or(cores).max(1);
        Self { jobs, threads: if threads > 0 { threads } else { (cores / jobs).max(1) } }
    }
}

/// Estimated time until runs that still take these times have all ended, `jobs` of them at a time. Jobs without a run
/// are idle, and no number of jobs makes the longest run shorter.
pub fn span(times: impl Iterator<Item = f64> + Clone, jobs: usize) -> f64 {
    let working = times.clone().filter(|time| *time > 0.0).count().min(jobs).max(1);
    let all: f64 = times.clone().sum();
    times.fold(all / working as f64, f64::max)
}

/// Work that follows each finished run of a study.
pub(crate) trait Follow: Sync {
    /// Does the work after a run. `begins` must be called before anything that takes time.
    ///
    /// # Errors
    /// Any error of the work; no other run is affected.
    fn follow(&self, run: &Run, begins: &dyn Fn()) -> Result<()>;
}

/// No work follows any run.
impl Follow for () {
    fn follow(&self, _run: &Run, _begins: &dyn Fn()) -> Result<()> {
        Ok(())
    }
}

/// The end of a run of a study.
#[derive(Clone, Copy, Debug)]
pub enum Finished<'a> {
    /// The run was finished in this call.
    Now(&'a Summary),
    /// The run was finished before, by an earlier call or another process.
    Before,
    /// The run ended with an error. The other runs go on.
    Failed(&'a TrainError),
}

/// Lets a program watch the runs of a study. `run` is the index in the list that was given to [`train_all`].
pub trait StudyObserver {
    /// Another process works in the run's folder, and the study waits for it.
    fn on_wait(&mut self, _run: usize, _error: &TrainError) {}
    /// A run begins or continues.
    fn on_start(&mut self, _run: usize, _start: &Start<'_>) {}
    /// A run made a step.
    fn on_step(&mut self, _run: usize, _event: &StepEvent) {}
    /// A run finished an epoch and its evaluation.
    fn on_epoch(&mut self, _run: usize, _metrics: &EpochMetrics) {}
    /// A run ended.
    fn on_run(&mut self, _run: usize, _how: Finished<'_>) {}
    /// The work after a finished run begins, such as a measurement.
    fn on_follow(&mut self, _run: usize) {}
    /// The work after a finished run has ended, with or without an error. The other runs go on.
    fn on_followed(&mut self, _run: usize, _how: &Result<()>) {}
}

/// An observer that watches nothing.
impl StudyObserver for () {}

/// A run that did not finish.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Index of the run.
    pub run: usize,
    /// Name of the run.
    pub name: String,
    /// The error in words.
    pub reason: String,
}

/// The end of the training of all runs.
#[derive(Clone, Debug)]
pub enum Trained {
    /// Every run finished, except these.
    All(Vec<Failure>),
    /// The study was asked to stop. Every run that had begun left a checkpoint.
    Interrupted,
}

/// Trains the runs that are not finished, in their order, and continues those that began. Setting `stop` ends all runs
/// after their current step, with checkpoints.
///
/// A run continues with as many threads as it started with, because equal bits are only promised for equal numbers. A
/// run whose folder another process holds is waited for.
///
/// # Errors
/// A run that finished on other images than those of its recipe's `data.dir`; a full or read-only disk, which would end
/// every run. A run that fails alone is told to the observer and returned.
///
/// # Cost
/// `jobs` runs are in memory at a time.
pub fn train_all(
    runs: &[Run],
    workers: Workers,
    observer: &mut (dyn StudyObserver + Send),
    stop: &AtomicBool,
) -> Result<Trained> {
    train_all_then(runs, workers, observer, stop, &())
}

/// Trains like [`train_all`], with work that follows each finished run, of this call or an earlier one, on the thread
/// of the run. The observer gets the result of that work, and the other runs go on.
///
/// # Errors
/// The errors of [`train_all`].
pub(crate) fn train_all_then(
    runs: &[Run],
    workers: Workers,
    observer: &mut (dyn StudyObserver + Send),
    stop: &AtomicBool,
    then: &dyn Follow,
) -> Result<Trained> {
    check_images(runs)?;
    let board = Mutex::new(Board { observer, fatal: None, failures: Vec::new() });
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers.jobs.clamp(1, runs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(index) else { break };
                    if stop.load(Ordering::Relaxed) || at(&board).fatal.is_some() {
                        break;
                    }
                    one(index, run, workers.threads, &board, stop);
                    if is_finished(&run.folder) {
                        let begins = || at(&board).observer.on_follow(index);
                        let how = catch_unwind(AssertUnwindSafe(|| then.follow(run, &begins)));
                        let how = how.unwrap_or_else(|_| {
                            Err(panicked(run, "what follows the run panicked (its message is above)").into())
                        });
                        at(&board).observer.on_followed(index, &how);
                    }
                }
            });
        }
    });
    let Board { fatal, mut failures, .. } = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = fatal {
        return Err(error.into());
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(Trained::Interrupted);
    }
    failures.sort_by_key(|failure| failure.run);
    Ok(Trained::All(failures))
}

fn one(index: usize, run: &Run, threads: usize, board: &Mutex<Board<'_>>, stop: &AtomicBool) {
    let mut told = false;
    let trained = loop {
        if is_finished(&run.folder) {
            return at(board).observer.on_run(index, Finished::Before);
        }
        let mut recipe = run.recipe.clone();
        recipe.train.threads = if is_run(&run.folder) { 0 } else { threads };
        let mut relay = Relay { index, board };
        let trained =
            catch_unwind(AssertUnwindSafe(|| train(recipe, &run.folder, Existing::Resume, &mut relay, stop)));
        match trained {
            Ok(Err(error @ TrainError::Locked { .. })) if !stop.load(Ordering::Relaxed) => {
                if !told {
                    at(board).observer.on_wait(index, &error);
                    told = true;
                }
                std::thread::sleep(LOOK);
            }
            other => break other,
        }
    };
    match trained.unwrap_or_else(|_| Err(panicked(run, "the run panicked (its message is above)"))) {
        Ok(Outcome::Finished(summary)) => at(board).observer.on_run(index, Finished::Now(&summary)),
        Ok(Outcome::Interrupted { .. }) => {}
        // A run that waited for another process and was then asked to stop has nothing to report.
        Err(TrainError::Locked { .. }) if stop.load(Ordering::Relaxed) => {}
        Err(error) => {
            let mut board = at(board);
            if disk_refuses(&error) {
                board.fatal.get_or_insert(error);
            } else {
                board.observer.on_run(index, Finished::Failed(&error));
                board.failures.push(Failure {
                    run: index,
                    name: run.name.clone(),
                    reason: error.to_string(),
                });
            }
        }
    }
}

/// The error of a run that panicked. A panic is a defect, but not one of the other runs.
fn panicked(run: &Run, problem: &str) -> TrainError {
    TrainError::Folder { path: run.folder.clone(), problem: problem.into() }
}

/// Whether the error would meet every other run as well.
fn disk_refuses(error: &TrainError) -> bool {
    let TrainError::Io { source, .. } = error else { return false };
    matches!(
        source.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::ReadOnlyFilesystem
    )
}

/// The state that all runs share.
struct Board<'a> {
    observer: &'a mut (dyn StudyObserver + Send),
    fatal: Option<TrainError>,
    failures: Vec<Failure>,
}

/// Locks the board. A thread that panicked while it held the lock left nothing half done that matters.
fn at<'b, 'o>(board: &'b Mutex<Board<'o>>) -> std::sync::MutexGuard<'b, Board<'o>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes the events of one run on to the study's observer.
struct Relay<'b, 'o> {
    index: usize,
    board: &'b Mutex<Board<'o>>,
}

impl Observer for Relay<'_, '_> {
    fn on_start(&mut self, start: &Start<'_>) {
        at(self.board).observer.on_start(self.index, start);
    }
    fn on_step(&mut self, event: &StepEvent) {
        at(self.board).observer.on_step(self.index, event);
    }
    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        at(self.board).observer.on_epoch(self.index, metrics);
    }
}
