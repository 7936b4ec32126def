//! The beginning of a run: at its recipe, or at its last checkpoint with the logs up to it.

use std::{cell::RefCell, path::Path};

use gnr_models::weights;
use gnr_nn::{Autodiff, Buffers, Frozen, Model, ParamVector};

use crate::{
    average::WeightAverage,
    checkpoint::{self, CheckpointFile, Extension, Move, Progress},
    elapsed::{Elapsed, Started},
    error::{Result, TrainError},
    folder::RunFolder,
    identity::same_run,
    method::Configured,
    metrics::{EpochMetrics, MetricsLog, Times},
    ranks,
    recipe::Recipe,
    team::Team,
    tensorboard::EventWriter,
};

use super::{Prepared, Trainer};

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    /// Starts at the initial weights, or at the last checkpoint in the folder if there is one.
    pub(crate) fn new(prepared: &'a Prepared, folder: &'a RunFolder, team: Team, backend: B) -> Result<Self> {
        let layout = prepared.model.layout();
        let steps_per_epoch = prepared.images.train.batches_per_epoch() as u64;
        let examples = prepared.images.train.dataset().len();
        let mut configured = Configured::new(&prepared.recipe, &prepared.groups, steps_per_epoch, examples)?;
        let recipe_text = prepared.recipe.to_toml()?;
        let last = checkpoint::last(folder.path());
        let file = ranks::last_checkpoint(&team, &last)?;
        let (values, progress) = match &file {
            Some(file) => {
                let progress = progress_of(file, &last, &prepared.recipe)?;
                (file.model(layout)?, progress)
            }
            None => (prepared.initial.clone(), Progress::default()),
        };
        let (parameters, statistics) = weights::split(layout, values);
        let frozen = (prepared.frozen.as_deref())
            .map(|mask| Frozen::new(&backend, layout, &parameters, mask))
            .transpose()?;
        let mut theta = ParamVector::from_host(&backend, layout, &parameters)?;
        if let Some(frozen) = &frozen {
            let learned = frozen.learned(theta.tensors().iter().cloned()).collect();
            theta = ParamVector::new(backend.clone(), learned);
        }
        let buffers = Buffers::from_host(&backend, layout, &statistics)?;
        let average = prepared.recipe.train.average.as_ref();
        let mut average = average.map(|average| WeightAverage::new(average, &prepared.model)).transpose()?;
        if let Some(file) = &file {
            file.optimizer(&backend, layout, frozen.as_ref(), configured.method.optimizer.as_mut())?;
            file.regularizers(&backend, layout, frozen.as_ref(), &mut configured.method.regularizer)?;
            if let Some(average) = &mut average {
                file.average(&backend, layout, frozen.as_ref(), average)?;
            }
        }
        let opened = team.lead(|| {
            let opened = open_logs(folder, file.is_none(), &progress)?;
            checkpoint::drop_abandoned(folder.path(), &progress)?;
            Ok(opened)
        })?;
        let (logs, kept) = opened.unzip();
        let (last, times, notes) = kept.unwrap_or_default();
        // Only rank 0 has the file, but every rank makes an equal summary.
        let text = |shared: &(Option<EpochMetrics>, Times)| {
            serde_json::to_string(shared).map_err(|error| TrainError::Request(error.to_string()))
        };
        let shared = team.share_text(|| text(&(last, times)))?;
        let (last, times) = serde_json::from_str(&shared)
            .map_err(|error| TrainError::Request(format!("metrics that rank 0 sent: {error}")))?;
        let buffers = RefCell::new(buffers);
        Ok(Self {
            prepared,
            folder,
            team,
            backend,
            recipe_text,
            configured,
            theta,
            frozen,
            buffers,
            average,
            progress,
            logs,
            last,
            times,
            started: Started::default(),
            notes,
        })
    }
}

/// The position in the run at which the checkpoint was written and from which `recipe` continues. A change of engine or
/// of the number of epochs is recorded in it.
///
/// # Errors
/// A file that is not a checkpoint of this run.
fn progress_of(file: &CheckpointFile, path: &Path, recipe: &Recipe) -> Result<Progress> {
    let problem =
        |problem: &str| TrainError::Checkpoint { path: path.to_path_buf(), problem: problem.into() };
    let header = file.header().ok_or_else(|| problem("not a checkpoint of a run"))?;
    let mut theirs = Recipe::parse(&path.display().to_string(), "run", &header.recipe, &[])?;
    let mut progress = header.progress.clone();
    let (before, now) = (theirs.train.place(), recipe.train.place());
    if before != now {
        progress.moves.push(Move { at_step: progress.step, from: before.to_string(), to: now.to_string() });
    }
    let (from, to) = (theirs.train.epochs, recipe.train.epochs);
    theirs.train.epochs = to;
    if !same_run(&theirs, recipe) || to < progress.epoch {
        return Err(problem("was written by another recipe than the folder's recipe.toml"));
    }
    if from != to {
        progress.extensions.push(Extension { at_epoch: progress.epoch, from, to });
    }
    Ok(progress)
}

/// The metrics of the last epoch done, the times of all epochs done, and warnings about missing parts of the folder.
type Kept = (Option<EpochMetrics>, Times, Vec<String>);

/// Opens the logs of a run, cut to its progress, and writes the event file anew. Of all epochs, only the last one's
/// metrics and the sums of times are kept in memory, because a run may have any number of epochs.
fn open_logs(
    folder: &RunFolder,
    new: bool,
    progress: &Progress,
) -> Result<((MetricsLog, EventWriter), Kept)> {
    let mut notes = Vec::new();
    let log = folder.file("metrics.jsonl");
    if new && std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        notes.push("warning: there is no checkpoint: the run starts again from its beginning".to_owned());
    }
    let (metrics, lines) = MetricsLog::open(&log, progress.step, progress.epoch)?;
    let mut events = EventWriter::create(folder.path())?;
    let (mut last, mut first, mut times) = (None, progress.epoch + 1, Times::default());
    if progress.batch > 0 {
        times.interrupted = Elapsed::read(folder.path(), progress.step);
    }
    for line in lines {
        events.line(&line)?;
        if line["kind"] == "epoch" {
            let epoch = line["epoch"].clone();
            let line: EpochMetrics = serde_json::from_value(line).map_err(|error| {
                let problem = format!(
                    "the line of epoch {epoch}: {error}. Bring the log back, or remove it to go on without its lines"
                );
                TrainError::Folder { path: log.clone(), problem }
            })?;
            if last.is_none() {
                first = line.epoch;
            }
            times.add(&line);
            last = Some(line);
        }
    }
    if first > 1 {
        notes.push(format!(
            "warning: metrics.jsonl lacks the epochs 1 to {}: figures and reports of this run will lack them, too",
            first - 1
        ));
    }
    Ok(((metrics, events), (last, times, notes)))
}
