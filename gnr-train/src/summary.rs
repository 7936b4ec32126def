//! `summary.json`: what a finished run came to.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    atomic::write_atomically,
    checkpoint::{Extension, Move},
    error::{Result, io},
    observer::BestBy,
    recipe::{LabelNoise, Precision},
};

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Always true: only finished runs have a summary.
    pub finished: bool,
    /// The recipe's name.
    pub name: String,
    /// The method in words.
    pub method: String,
    /// Epochs done.
    pub epochs: u64,
    /// Steps done.
    pub steps: u64,
    /// Mean training loss of the last epoch.
    pub train_loss: f64,
    /// Of the last epoch.
    pub train_accuracy: f64,
    /// Of the last epoch, with label noise: on the images with flipped labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_accuracy_flipped: Option<f64>,
    /// Of the last epoch, with label noise: on the other images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_accuracy_untouched: Option<f64>,
    /// What `data.label_noise` came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<NoiseCount>,
    /// After the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// After the last epoch.
    pub test_accuracy: f64,
    /// After the last epoch.
    pub test_loss: f64,
    /// On the validation images, of the averaged weights (`train.average`, or those of a schedule-free optimiser),
    /// after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_val_accuracy: Option<f64>,
    /// On the test images, of the averaged weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_accuracy: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_loss: Option<f64>,
    /// The best checkpoint.
    pub best: Best,
    /// Wall-clock time of all epochs.
    pub seconds: f64,
    /// d.
    pub parameters: usize,
    /// Gradients of a whole batch that were computed.
    pub gradient_evaluations: u64,
    /// Hessian-vector (or Gauss–Newton) products that were computed (differences not counted: they are gradients).
    pub products: u64,
    /// Forward passes of a whole batch without a gradient (losses or outputs of the examples at another point).
    #[serde(default, skip_serializing_if = "crate::checkpoint::is_zero")]
    pub forward_passes: u64,
    /// How many ranks trained together at the end, where it was more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<usize>,
    /// The share of the steps' time that a rank spent in exchanges with the others, waiting for the last one included:
    /// mean over ranks and over the epochs that several ranks trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange_share: Option<f64>,
    /// Of the program.
    pub version: &'static str,
    /// Of the program's source, where it was known when it was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'static str>,
    /// When the run was given more epochs, and how many; empty for a run that was trained as it was planned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Where the run was computed: `cpu`, `cuda:0`.
    pub device: String,
    /// Name and version of the library that computed.
    pub library: String,
    /// Of parameters and activations.
    pub precision: Precision,
    /// When the run went on with another backend or device; empty for a run that stayed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// Mean value of each regulariser in the last epoch.
    pub penalties: BTreeMap<String, f64>,
}

impl Summary {
    /// Writes `summary.json` atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).map_err(|e| io(path, "write")(e.into()))?;
        text.push('\n');
        write_atomically(path, text.as_bytes())
    }
}

/// `data.label_noise` of a recipe, and how many of the labels trained on it changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseCount {
    /// The recipe's section.
    #[serde(flatten)]
    pub asked: LabelNoise,
    /// Images trained on whose label is not the published one.
    pub flipped: u64,
    /// Images trained on, after subset and validation part.
    pub of: u64,
}

/// The checkpoint `best.safetensors`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// What decided.
    pub by: BestBy,
    /// Its value.
    pub value: f64,
    /// After which epoch.
    pub epoch: u64,
    /// On the test images, for the report; it did not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

/// Version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

static COMMIT: OnceLock<&'static str> = OnceLock::new();

/// Tells which commit the program was built from; summaries then record it. The first word counts. The program knows it
/// rather than this library, so that a commit does not make this library compile again.
pub fn set_commit(commit: &'static str) {
    let _ = COMMIT.set(commit);
}

/// The commit that the program was built from, where it told.
pub fn commit() -> Option<&'static str> {
    COMMIT.get().copied()
}
