//! The loop: epochs of steps, evaluations, checkpoints.

mod begin;
mod epoch;
mod evaluations;
mod files;
mod step;

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use gnr_models::{AnyModel, weights};
use gnr_nn::{Autodiff, Buffers, Frozen, Layout, Model, ParamVector};

use crate::{
    average::WeightAverage,
    checkpoint::Progress,
    data::{Images, upload, upload_groups},
    elapsed::Started,
    error::{Result, TrainError},
    folder::RunFolder,
    method::Configured,
    metrics::{EpochMetrics, MetricsLog, Times},
    observer::{Observer, Start},
    recipe::Recipe,
    select::Groups,
    summary::{self, Summary},
    team::Team,
    tensorboard::EventWriter,
};

/// The parts of a run on the host.
pub(crate) struct Prepared {
    pub(crate) recipe: Recipe,
    pub(crate) images: Images,
    /// Doubts about settings and images, in words.
    pub(crate) doubts: Vec<String>,
    pub(crate) model: AnyModel,
    /// The initial parameters θ₀ and the first running statistics.
    pub(crate) initial: Vec<Vec<f64>>,
    /// Report about the file of initial weights, if this process read one.
    pub(crate) weights: Option<weights::Report>,
    /// Whether each parameter is frozen; `None` when all are learned.
    pub(crate) frozen: Option<Vec<bool>>,
    /// The optimiser's groups of the learned parameters.
    pub(crate) groups: Groups,
    pub(crate) classes: usize,
    pub(crate) input: [usize; 3],
}

impl Prepared {
    /// The images in words, and the doubts.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = self.images.describe();
        lines.extend(self.doubts.iter().map(|doubt| format!("warning: {doubt}")));
        lines
    }
}

/// The end of a run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The run is finished.
    Finished(Box<Summary>),
    /// The run was asked to stop. It can continue at the checkpoint.
    Interrupted {
        /// Number of steps done.
        step: u64,
        /// Number of epochs completed.
        epoch: u64,
        /// Path of the checkpoint.
        checkpoint: PathBuf,
    },
}

/// Puts the values of a layout's entries on a backend, as parameters and running statistics.
pub(crate) fn place<B: Autodiff>(
    backend: &B,
    layout: &Layout,
    values: Vec<Vec<f64>>,
) -> Result<(ParamVector<B>, Buffers<B>)> {
    let (parameters, buffers) = weights::split(layout, values);
    let theta = ParamVector::from_host(backend, layout, &parameters)?;
    let tensors = (layout.buffers().zip(&buffers))
        .map(|(entry, values)| backend.constant(values, &entry.shape))
        .collect::<Result<_, _>>()?;
    Ok((theta, Buffers { tensors }))
}

pub(crate) struct Trainer<'a, B: Autodiff> {
    prepared: &'a Prepared,
    folder: &'a RunFolder,
    team: Team,
    backend: B,
    recipe_text: String,
    configured: Configured<ParamVector<B>>,
    /// The learned parameters.
    theta: ParamVector<B>,
    frozen: Option<Frozen<B>>,
    buffers: RefCell<Buffers<B>>,
    average: Option<WeightAverage<B>>,
    progress: Progress,
    /// The logs, on rank 0 only.
    logs: Option<(MetricsLog, EventWriter)>,
    /// Metrics of the last epoch done.
    last: Option<EpochMetrics>,
    /// Times of the epochs done.
    times: Times,
    /// The start of the present epoch.
    started: Started,
    /// Warnings about what is missing in the folder of a run that continues.
    notes: Vec<String>,
}

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    pub(crate) fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let recipe = &self.prepared.recipe;
        let steps = self.prepared.images.train.batches_per_epoch() as u64;
        // A program that finds nothing left to train is none of those that trained the run.
        if !self.ended() {
            let other = self.progress.trained_by(summary::commit());
            self.notes.extend(other.filter(|_| self.team.leads()));
        }
        observer.on_start(&Start {
            recipe,
            folder: self.folder.path(),
            data: self.prepared.describe().into_iter().chain(self.notes.iter().cloned()).collect(),
            weights: self.prepared.weights.as_ref(),
            parameters: self.prepared.model.layout().num_parameters(),
            learned: gnr_core::Vector::dim(&self.theta),
            steps_per_epoch: steps,
            step: self.progress.step,
            best_by: self.best_by(),
        });
        if self.progress.step == 0 {
            self.keep()?;
        }
        while !self.ended() {
            self.started = Started::new(std::mem::take(&mut self.times.interrupted), self.team.exchanging());
            let finished = self.epoch_steps(steps, observer, stop)?;
            if !finished {
                return self.interrupt(observer);
            }
            self.finish_epoch(observer)?;
            // The kept weights are written before `last`. A run that dies in between writes them again, and lacks none.
            self.keep()?;
            let epoch = self.progress.epoch;
            let every = recipe.train.checkpoint_every_epochs;
            if self.ended() || (every > 0 && epoch.is_multiple_of(every)) {
                self.save_last(observer)?;
            }
            if self.team.any(stop.load(Ordering::Relaxed))? && !self.ended() {
                return self.interrupt(observer);
            }
        }
        self.evaluate_late(observer)?;
        let summary = self.summary();
        let summary = self.team.agree(summary)?;
        observer.on_end(&summary);
        Ok(Outcome::Finished(Box::new(summary)))
    }

    /// Whether the last epoch is done, or the run has collapsed and is to end then.
    fn ended(&self) -> bool {
        let train = &self.prepared.recipe.train;
        // A single such evaluation could be chance. A network through which no signal passes gives a second one.
        let collapsed = self.progress.collapse.is_some_and(|collapse| collapse.evaluations >= 2);
        self.progress.epoch >= train.epochs || (train.stop_when_collapsed && collapsed)
    }

    /// Makes the remaining steps of the current epoch. Returns false when asked to stop on the way.
    fn epoch_steps(&mut self, steps: u64, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool> {
        if self.progress.batch >= steps {
            return Ok(true);
        }
        let train = &self.prepared.recipe.train;
        let loader = &self.prepared.images.train;
        let batches =
            loader.epoch(self.progress.epoch, self.progress.batch as usize).map_err(TrainError::from);
        for batch in self.team.agree(batches)? {
            let placed = batch.map_err(TrainError::from).and_then(|batch| {
                let parts = match self.prepared.recipe.method.group {
                    Some(group) => upload_groups(&self.backend, &batch, group)?,
                    None => upload(&self.backend, &batch, train.micro_batches)?,
                };
                let flipped = self.prepared.images.flipped_in(&batch);
                loader.recycle(batch);
                Ok((parts, flipped))
            });
            let (parts, flipped) = match self.team.agree(placed) {
                Ok(placed) => placed,
                Err(error) => {
                    // A batch that fails on one rank ends the run on all ranks. The checkpoint keeps the steps that
                    // they made.
                    if self.team.size() > 1 {
                        self.save_last(observer)?;
                    }
                    return Err(error);
                }
            };
            let stepped = self.step(&parts);
            let (report, stopped) = self.counted(stepped, &flipped, stop.load(Ordering::Relaxed))?;
            let images = train.batch_size as u64;
            if let Some(average) = &mut self.average {
                let epochs_done = self.progress.epoch;
                average.after_step(epochs_done, &self.backend, &self.theta, &self.buffers.borrow())?;
            }
            let event = self.account(report, images);
            if train.log_every_steps.is_some_and(|every| event.step.is_multiple_of(every)) {
                self.log(|metrics| metrics.step(&event))?;
            }
            observer.on_step(&event);
            if stopped || stop.load(Ordering::Relaxed) && self.team.size() == 1 {
                return Ok(false);
            }
            if train.checkpoint_every_steps.is_some_and(|every| event.step.is_multiple_of(every)) {
                self.save_last(observer)?;
            }
        }
        Ok(true)
    }

    /// Writes a line to the metrics and to TensorBoard. Every rank must call it; rank 0 writes.
    fn log(&mut self, line: impl FnOnce(&mut MetricsLog) -> Result<serde_json::Value>) -> Result<()> {
        let written = match &mut self.logs {
            Some((metrics, events)) => line(metrics).and_then(|line| events.line(&line)),
            None => Ok(()),
        };
        self.team.agree(written)
    }
}
