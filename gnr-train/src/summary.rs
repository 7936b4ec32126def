//! The file `summary.json`, with the results of a finished run.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    atomic::write_atomically,
    checkpoint::{Extension, Move},
    error::{Result, io},
    observer::BestBy,
    recipe::{LabelNoise, Precision},
};

/// The summary of a finished run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The value true, since only finished runs have a summary.
    pub finished: bool,
    /// The recipe's name.
    pub name: String,
    /// The method, described in words.
    pub method: String,
    /// Number of epochs done.
    pub epochs: u64,
    /// Number of steps done.
    pub steps: u64,
    /// Mean training loss of the last epoch.
    pub train_loss: f64,
    /// Training accuracy in the last epoch.
    pub train_accuracy: f64,
    /// With label noise: training accuracy of the last epoch on the images with flipped labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_accuracy_flipped: Option<f64>,
    /// With label noise: training accuracy of the last epoch on the other images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_accuracy_untouched: Option<f64>,
    /// The result of `data.label_noise`, if the recipe has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<NoiseCount>,
    /// Accuracy on the validation images after the last epoch, if there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Accuracy on the test images after the last epoch.
    pub test_accuracy: f64,
    /// Loss on the test images after the last epoch.
    pub test_loss: f64,
    /// Accuracy of the averaged weights (`train.average`, or those of a schedule-free optimiser) on the validation
    /// images after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_val_accuracy: Option<f64>,
    /// Accuracy of the averaged weights on the test images after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_accuracy: Option<f64>,
    /// Loss of the averaged weights on the test images after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_loss: Option<f64>,
    /// Number of epochs done when the run collapsed: from that evaluation on, all validation images got the same
    /// logits. A run without validation images is judged by its test images. With `train.stop_when_collapsed` such a
    /// run may end before its last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapsed_at_epoch: Option<u64>,
    /// The best checkpoint.
    pub best: Best,
    /// Wall-clock seconds of all epochs.
    pub seconds: f64,
    /// Number of scalar parameters of the model, frozen ones included.
    pub parameters: usize,
    /// Number of gradients computed, in units of a whole batch: a part of it counts by its share of the examples, and
    /// the gradients of all groups or micro-batches together count as one.
    #[serde(serialize_with = "crate::checkpoint::whole")]
    pub gradient_evaluations: f64,
    /// Number of Hessian-vector (or Gauss–Newton) products computed, in units of a whole batch. Differences count as
    /// gradients.
    #[serde(serialize_with = "crate::checkpoint::whole")]
    pub products: f64,
    /// Number of forward passes without a gradient, in units of a whole batch (for losses or outputs of the examples at
    /// another point).
    #[serde(default, skip_serializing_if = "crate::checkpoint::is_zero")]
    pub forward_passes: u64,
    /// Number of ranks that trained together at the end, where it was more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<usize>,
    /// The share of the steps' time that a rank spent in exchanges with the others, waiting for the last one included.
    /// Mean over ranks, and over the epochs that several ranks trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange_share: Option<f64>,
    /// Version of the program.
    pub version: &'static str,
    /// Commit of the source of the program that trained the run to its end, where it was known at build time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The commits of the programs that trained the run before that one; empty if it trained all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_commits: Vec<String>,
    /// The changes of the number of epochs; empty for a run that was trained as planned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// The device of the run: `cpu`, `cuda:0`.
    pub device: String,
    /// Name and version of the library that computed.
    pub library: String,
    /// Precision of parameters and activations.
    pub precision: Precision,
    /// The changes of backend or device; empty for a run without any.
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

/// The settings of `data.label_noise`, and the number of training labels that it changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseCount {
    /// The recipe's section.
    #[serde(flatten)]
    pub asked: LabelNoise,
    /// Number of training images whose label is not the published one.
    pub flipped: u64,
    /// Number of training images, after subset and validation part.
    pub of: u64,
}

/// The checkpoint `best.safetensors`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The criterion of the best checkpoint.
    pub by: BestBy,
    /// The value of the criterion.
    pub value: f64,
    /// Number of the epoch whose weights it has.
    pub epoch: u64,
    /// Accuracy on the test images, for the report; it was not part of the criterion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

/// Version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

static COMMIT: OnceLock<&'static str> = OnceLock::new();

/// Sets the commit from which the program was built, which summaries then record. Only the first call counts. The
/// program passes it to this library so that a commit does not recompile the library.
pub fn set_commit(commit: &'static str) {
    let _ = COMMIT.set(commit);
}

/// The commit from which the program was built, if it was set.
pub fn commit() -> Option<&'static str> {
    COMMIT.get().copied()
}
