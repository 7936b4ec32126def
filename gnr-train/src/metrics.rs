//! `metrics.jsonl`: one JSON object a line, one line an epoch (and a step, when asked for).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    atomic::write_atomically,
    error::{Result, io},
    observer::StepEvent,
};

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, from 1.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch's batches, before their steps, label smoothing included.
    pub train_loss: f64,
    /// Accuracy on the epoch's images as they were seen, before their steps.
    pub train_accuracy: f64,
    /// With label noise: share of the epoch's images with flipped labels for which the flipped label was predicted. Of a mixed
    /// image the label that weighs more counts, here and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_flipped: Option<f64>,
    /// With label noise: accuracy on the epoch's images whose label is the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_untouched: Option<f64>,
    /// On the validation images, where there are some and this epoch was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// On the test images, where this epoch was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// On the validation images, of the averaged weights (`train.average`), where there are some and this epoch was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_val_accuracy: Option<f64>,
    /// On the test images, of the averaged weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_accuracy: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_loss: Option<f64>,
    /// η of the epoch's last step.
    pub learning_rate: f64,
    /// Mean of ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
    /// Mean estimate of each regulariser's value, over the steps where it acted.
    pub penalties: BTreeMap<String, f64>,
    /// Wall-clock time of the epoch, evaluation included.
    pub seconds: f64,
    /// Wall-clock time of its steps alone (of those after a resume, when one fell into the epoch).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_seconds: Option<f64>,
}

/// A line as it is written.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Epoch(&'a EpochMetrics),
    Step(&'a StepEvent),
}

/// The file, open for appending.
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the file of a run at `step` with `epochs` done: what was logged after that, and a half-written last line, is cut
    /// off. Also gives the lines that are left.
    pub(crate) fn open(path: &Path, step: u64, epochs_done: u64) -> Result<(Self, Vec<Value>)> {
        let mut lines = Vec::new();
        if path.exists() {
            let bytes = fs::read(path).map_err(io(path, "read"))?;
            let kept;
            (kept, lines) = left(&bytes, step, epochs_done);
            if kept != bytes.len() {
                write_atomically(path, &bytes[..kept])?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io(path, "open"))?;
        Ok((Self { path: path.to_path_buf(), file }, lines))
    }

    /// Writes an epoch's line and gives it back.
    pub(crate) fn epoch(&mut self, metrics: &EpochMetrics) -> Result<Value> {
        self.line(&Line::Epoch(metrics))
    }

    /// Writes a step's line and gives it back.
    pub(crate) fn step(&mut self, event: &StepEvent) -> Result<Value> {
        self.line(&Line::Step(event))
    }

    /// Waits until the lines are on the disk: they then outlast a machine that loses power.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(io(&self.path, "synchronise"))
    }

    fn line(&mut self, line: &Line<'_>) -> Result<Value> {
        let line = serde_json::to_value(line).map_err(|e| io(&self.path, "write")(e.into()))?;
        // One write a line: a killed process leaves at most one line unfinished.
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(io(&self.path, "write"))?;
        Ok(line)
    }
}

/// The lines that a log has at `step` with `epochs_done`, and how many bytes of it they are.
pub(crate) fn left(bytes: &[u8], step: u64, epochs_done: u64) -> (usize, Vec<Value>) {
    let (mut kept, mut lines) = (0, Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let value = serde_json::from_slice::<Value>(line).ok().filter(|_| line.ends_with(b"\n"));
        let Some(value) = value else { break };
        // The checkpoint of an epoch's last step may be older than the epoch's line, and its end will be logged again.
        let later = |key: &str, done: u64| value[key].as_u64().is_none_or(|at| at > done);
        if later("step", step) || (value["kind"] == "epoch" && later("epoch", epochs_done)) {
            break;
        }
        kept += line.len();
        lines.push(value);
    }
    (kept, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_epoch_whose_end_was_not_saved_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let lines = ["{\"kind\":\"step\",\"step\":2}\n", "{\"kind\":\"epoch\",\"epoch\":1,\"step\":2}\n"];
        for (epochs_done, kept) in [(0, 1), (1, 2)] {
            fs::write(&path, lines.concat()).unwrap();
            let (_, left) = MetricsLog::open(&path, 2, epochs_done).unwrap();
            assert_eq!(left.len(), kept);
            assert_eq!(fs::read_to_string(&path).unwrap(), lines[..kept].concat());
        }
    }
}
