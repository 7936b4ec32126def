//! Trains the runs of a sweep, several at a time. Each is an ordinary run folder: resumable, locked, finished once.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use super::{Cell, Sweep, SweepResult, result};
use crate::{
    atomic::write_atomically,
    error::{Result, TrainError, io},
    folder::lock,
    run::{Existing, train},
    summary::Summary,
    trainer::Outcome,
};

/// How a run of a sweep ended.
#[derive(Clone, Copy, Debug)]
pub enum Finished<'a> {
    /// By itself, now.
    Now(&'a Summary),
    /// In an earlier call.
    Before,
    /// By an error; the others go on.
    Failed(&'a TrainError),
}

/// Watches a sweep.
pub trait SweepObserver {
    /// A run ended: the how-manyth, of how many.
    fn on_run(&mut self, _done: usize, _of: usize, _name: &str, _folder: &Path, _how: Finished<'_>) {}
}

/// Watches nothing.
impl SweepObserver for () {}

/// How a sweep ended.
#[derive(Clone, Debug)]
pub enum SweepOutcome {
    /// Every run was finished or failed for good.
    Done(Box<SweepResult>),
    /// It was asked to stop; every run that had begun left a checkpoint.
    Interrupted,
}

impl Sweep {
    /// Trains what is not finished and writes `sweep.json`, `heatmap.html` and `chosen.toml`. Setting `stop` ends the runs
    /// after their current step, with checkpoints.
    ///
    /// # Errors
    /// [`TrainError::Locked`] when another sweep works in the folder; an error of the disk (which would meet every run); a
    /// sweep of which no run succeeded. A run that fails alone is told to the observer and in the result.
    pub fn run(&self, observer: &mut (dyn SweepObserver + Send), stop: &AtomicBool) -> Result<SweepOutcome> {
        let folder = &self.request.folder;
        std::fs::create_dir_all(folder).map_err(io(folder, "create"))?;
        let _alone = lock(folder, "sweep.lock")?;
        let validation_images = self.check()?;
        let board = Mutex::new(Board { observer, done: 0, fatal: None, failures: Vec::new() });
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.request.jobs.clamp(1, self.len().max(1)) {
                scope.spawn(|| {
                    while let Some(cell) = self.cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if stop.load(Ordering::Relaxed) || at(&board).fatal.is_some() {
                            break;
                        }
                        self.one(cell, &board, stop);
                    }
                });
            }
        });
        let Board { fatal, failures, .. } = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = fatal {
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(SweepOutcome::Interrupted);
        }
        let found = result::collect(self, validation_images, failures)?;
        let write = |name: &str, text: String| write_atomically(&folder.join(name), text.as_bytes());
        write("sweep.json", found.to_json()?)?;
        write("heatmap.html", found.to_html())?;
        write("chosen.toml", found.chosen_recipe()?)?;
        Ok(SweepOutcome::Done(Box::new(found)))
    }

    /// Threads of each run.
    fn threads(&self) -> usize {
        match self.request.threads {
            0 => (available_parallelism().map_or(1, usize::from) / self.request.jobs.max(1)).max(1),
            threads => threads,
        }
    }

    fn one(&self, cell: &Cell, board: &Mutex<Board<'_>>, stop: &AtomicBool) {
        if result::is_finished(&cell.folder) {
            return at(board).tell(self, cell, Finished::Before);
        }
        let mut recipe = cell.recipe.clone();
        // A run goes on with as many threads as it started with: only so is it the same, bit for bit.
        recipe.train.threads = if crate::is_run(&cell.folder) { 0 } else { self.threads() };
        // A run that panics is a defect, but not one of the other runs.
        let trained =
            catch_unwind(AssertUnwindSafe(|| train(recipe, &cell.folder, Existing::Resume, &mut (), stop)));
        let problem =
            |problem: &str| TrainError::Folder { path: cell.folder.clone(), problem: problem.into() };
        match trained.unwrap_or_else(|_| Err(problem("the run panicked (its message is above)"))) {
            Ok(Outcome::Finished(summary)) => at(board).tell(self, cell, Finished::Now(&summary)),
            Ok(Outcome::Interrupted { .. }) => {}
            Err(error) => {
                let mut board = at(board);
                // Such an error would meet every other run as well.
                let full = matches!(&error, TrainError::Io { source, .. } if matches!(
                    source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
                ));
                if full {
                    board.fatal.get_or_insert(error);
                } else {
                    board.tell(self, cell, Finished::Failed(&error));
                    board.failures.push((cell.point, cell.name.clone(), error.to_string()));
                }
            }
        }
    }
}

/// What the runs of a sweep share.
struct Board<'a> {
    observer: &'a mut (dyn SweepObserver + Send),
    done: usize,
    fatal: Option<TrainError>,
    /// Combination, name, reason.
    failures: Vec<(usize, String, String)>,
}

impl Board<'_> {
    fn tell(&mut self, sweep: &Sweep, cell: &Cell, how: Finished<'_>) {
        self.done += 1;
        self.observer.on_run(self.done, sweep.len(), &cell.name, &cell.folder, how);
    }
}

/// A thread that panicked while it held the board left nothing half done that matters.
fn at<'b, 'o>(board: &'b Mutex<Board<'o>>) -> std::sync::MutexGuard<'b, Board<'o>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
