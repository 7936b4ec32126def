//! Observers, through which a run tells a program what happens. The library itself prints nothing.

use std::path::Path;

use gnr_models::weights::Report;
use serde::{Deserialize, Serialize};

use crate::{metrics::EpochMetrics, recipe::Recipe, summary::Summary};

/// The facts that are known before the first step.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The recipe with all defaults filled in.
    pub recipe: &'a Recipe,
    /// The run folder.
    pub folder: &'a Path,
    /// The training, validation and test images in words. Doubts about them and the settings begin with `warning: `.
    pub data: Vec<String>,
    /// Report about the file of initial weights, when this process read one.
    pub weights: Option<&'a Report>,
    /// Number of scalar parameters of the model.
    pub parameters: usize,
    /// Number d of the parameters that are learned.
    pub learned: usize,
    /// Number of steps of an epoch.
    pub steps_per_epoch: u64,
    /// Number of steps already done, in a resumed run.
    pub step: u64,
    /// The criterion of the best checkpoint.
    pub best_by: BestBy,
}

/// The criterion of the best checkpoint, which never uses the test images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// The highest accuracy on the validation images.
    ValidationAccuracy,
    /// The lowest mean training loss of an epoch, used when nothing was held out.
    TrainLoss,
}

/// A step, after it was made.
#[derive(Clone, Debug, Serialize)]
pub struct StepEvent {
    /// Number of steps done in the run, this one included.
    pub step: u64,
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Number of steps done in this epoch, this one included.
    pub step_in_epoch: u64,
    /// The loss L̂ before the step.
    pub loss: f64,
    /// Mean loss of the epoch so far.
    pub mean_loss: f64,
    /// Accuracy of the epoch so far, on the images as they were seen.
    pub mean_accuracy: f64,
    /// The learning rate η_t.
    pub learning_rate: f64,
    /// The gradient norm ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
}

/// Lets a program watch a run. Every method has an empty default.
pub trait Observer {
    /// Called before the first step.
    fn on_start(&mut self, _: &Start<'_>) {}
    /// Called after every step.
    fn on_step(&mut self, _: &StepEvent) {}
    /// Called during evaluations, with the number of images done and their total number.
    fn on_evaluation(&mut self, _done: usize, _of: usize) {}
    /// Called after every epoch and its evaluation.
    fn on_epoch(&mut self, _: &EpochMetrics) {}
    /// Called when a checkpoint has been written.
    fn on_checkpoint(&mut self, _: &Path) {}
    /// Called when the run is finished.
    fn on_end(&mut self, _: &Summary) {}
}

/// An observer that ignores everything.
impl Observer for () {}
