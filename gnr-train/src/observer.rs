//! What a run tells whoever watches it. The library itself prints nothing.

use std::path::Path;

use gnr_models::weights::Report;
use serde::{Deserialize, Serialize};

use crate::{metrics::EpochMetrics, recipe::Recipe, summary::Summary};

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The resolved recipe.
    pub recipe: &'a Recipe,
    /// The run folder.
    pub folder: &'a Path,
    /// What is trained on, validated on and tested on, in words; what is doubtful about it and the settings begins with
    /// `warning: `.
    pub data: Vec<String>,
    /// What the initial weights were read from, when this process read them.
    pub weights: Option<&'a Report>,
    /// Number of scalar parameters of the model.
    pub parameters: usize,
    /// d, the number of those that are learned.
    pub learned: usize,
    /// Steps an epoch.
    pub steps_per_epoch: u64,
    /// Steps already done (a resumed run).
    pub step: u64,
    /// What decides which checkpoint is the best one.
    pub best_by: BestBy,
}

/// What decides which checkpoint is the best one. Never the test images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// The highest accuracy on the validation images.
    ValidationAccuracy,
    /// The lowest mean training loss of an epoch: nothing was held out.
    TrainLoss,
}

/// One step, after it was made.
#[derive(Clone, Debug, Serialize)]
pub struct StepEvent {
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch, from 1.
    pub epoch: u64,
    /// Steps done in this epoch, this one included.
    pub step_in_epoch: u64,
    /// L̂ before the step.
    pub loss: f64,
    /// Mean loss of the epoch so far.
    pub mean_loss: f64,
    /// Accuracy of the epoch so far, on the images as they were seen.
    pub mean_accuracy: f64,
    /// η_t.
    pub learning_rate: f64,
    /// ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
}

/// Watches a run. Every method has an empty default.
pub trait Observer {
    /// Before the first step.
    fn on_start(&mut self, _: &Start<'_>) {}
    /// After every step.
    fn on_step(&mut self, _: &StepEvent) {}
    /// During evaluations: images done, of how many.
    fn on_evaluation(&mut self, _done: usize, _of: usize) {}
    /// After every epoch and its evaluation.
    fn on_epoch(&mut self, _: &EpochMetrics) {}
    /// When a checkpoint has been written.
    fn on_checkpoint(&mut self, _: &Path) {}
    /// When the run is finished.
    fn on_end(&mut self, _: &Summary) {}
}

/// Watches nothing.
impl Observer for () {}
