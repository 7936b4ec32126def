//! The file `metrics.jsonl`, with one JSON object a line: a line for each epoch and, on request, for steps.

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
    error::{Result, TrainError, io},
    observer::StepEvent,
};

/// The metrics of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Number of steps done in the run.
    pub step: u64,
    /// Mean loss of the epoch's batches before their steps, label smoothing included.
    pub train_loss: f64,
    /// Accuracy on the epoch's images as they were seen, before the steps.
    pub train_accuracy: f64,
    /// With label noise: the share of the epoch's images with flipped labels for which the flipped label was predicted.
    /// In a blended image the heavier label counts, here and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_flipped: Option<f64>,
    /// With label noise: accuracy on the epoch's images whose label is the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_untouched: Option<f64>,
    /// Loss on the validation images, if there are some and this epoch was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Accuracy on the validation images, if there are some and this epoch was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Loss on the test images, if this epoch was evaluated on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Accuracy on the test images, if this epoch was evaluated on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Accuracy of the averaged weights (`train.average`) on the validation images, if there are some and this epoch
    /// was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_val_accuracy: Option<f64>,
    /// Accuracy of the averaged weights on the test images, if this epoch was evaluated on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_accuracy: Option<f64>,
    /// Loss of the averaged weights on the test images, if this epoch was evaluated on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_test_loss: Option<f64>,
    /// Whether all validation images got the same logits in this epoch's evaluations, also with averaged weights. A run
    /// without validation images is judged by its test images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collapsed: bool,
    /// Learning rate η of the epoch's last step.
    pub learning_rate: f64,
    /// Mean of ‖∇L̂(θ_t)‖ over the steps.
    pub grad_norm: f64,
    /// Mean estimate of each regulariser's value, over the steps on which it acted.
    pub penalties: BTreeMap<String, f64>,
    /// Wall-clock seconds of the epoch, evaluation and checkpoints included. After an interruption: those until the
    /// checkpoint and those since then.
    pub seconds: f64,
    /// Wall-clock seconds of the epoch's steps and the checkpoints between them. After an interruption: those until the
    /// checkpoint and those since then; on several ranks, those since then alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_seconds: Option<f64>,
    /// On several ranks: how much of `train_seconds` a rank spent in exchanges with the others, waiting for the last
    /// rank included. Mean over the ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_seconds: Option<f64>,
    /// The `exchange_seconds` of the rank that spent least. The others wait for that rank, so this is the cost of the
    /// exchanges themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_seconds_least: Option<f64>,
}

/// Wall-clock seconds of the epochs that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Seconds of whole epochs.
    pub(crate) all: f64,
    /// Seconds of the epoch at whose middle a run continues, until the checkpoint.
    pub(crate) interrupted: f64,
    /// Seconds of the steps in epochs that several ranks trained.
    steps: f64,
    /// Seconds of exchanges in those steps.
    exchanges: f64,
}

impl Times {
    /// Adds the times of an epoch.
    pub(crate) fn add(&mut self, epoch: &EpochMetrics) {
        self.all += epoch.seconds;
        if let (Some(steps), Some(exchanges)) = (epoch.train_seconds, epoch.exchange_seconds) {
            self.steps += steps;
            self.exchanges += exchanges;
        }
    }

    /// The share of exchanges in the time of the steps on several ranks; `None` if there were none.
    pub(crate) fn exchange_share(&self) -> Option<f64> {
        (self.steps > 0.0).then(|| self.exchanges / self.steps)
    }
}

/// A line of the file.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Epoch(&'a EpochMetrics),
    Step(&'a StepEvent),
}

/// The metrics file, open for appending.
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the file of a run at `step` with `epochs` done, and returns its lines. Lines logged after that position,
    /// and an incomplete last line, are cut off.
    ///
    /// # Errors
    /// A log that no run of this program left, see [`left`]; the file is then unchanged.
    pub(crate) fn open(path: &Path, step: u64, epochs_done: u64) -> Result<(Self, Vec<Value>)> {
        let mut lines = Vec::new();
        if path.exists() {
            let bytes = fs::read(path).map_err(io(path, "read"))?;
            let kept;
            (kept, lines) = left(&bytes, step, epochs_done).map_err(|what| TrainError::Folder {
                path: path.to_path_buf(),
                problem: format!("{what}: the log was edited or damaged. Bring it back, or remove it to go on without its lines"),
            })?;
            if kept != bytes.len() {
                write_atomically(path, &bytes[..kept])?;
            }
        }
        Ok((Self { path: path.to_path_buf(), file: appending(path)? }, lines))
    }

    /// Writes the line of an epoch and returns it.
    pub(crate) fn epoch(&mut self, metrics: &EpochMetrics) -> Result<Value> {
        self.line(&Line::Epoch(metrics))
    }

    /// Replaces the last line, which is that of the same epoch, and returns the new one. At any moment the log has one
    /// of both.
    pub(crate) fn epoch_again(&mut self, metrics: &EpochMetrics) -> Result<Value> {
        let mut bytes = fs::read(&self.path).map_err(io(&self.path, "read"))?;
        let before = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let kept = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.truncate(kept);
        let (line, text) = self.text(&Line::Epoch(metrics))?;
        bytes.extend(text.as_bytes());
        write_atomically(&self.path, &bytes)?;
        // The old file has no name any more.
        self.file = appending(&self.path)?;
        Ok(line)
    }

    /// Writes the line of a step and returns it.
    pub(crate) fn step(&mut self, event: &StepEvent) -> Result<Value> {
        self.line(&Line::Step(event))
    }

    /// Waits until the lines are on the disk, so that they outlast a power failure.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(io(&self.path, "synchronise"))
    }

    fn line(&mut self, line: &Line<'_>) -> Result<Value> {
        let (line, text) = self.text(line)?;
        // One write a line: a killed process leaves at most one incomplete line.
        self.file.write_all(text.as_bytes()).map_err(io(&self.path, "write"))?;
        Ok(line)
    }

    /// A line as a value, and as the text that the file has.
    fn text(&self, line: &Line<'_>) -> Result<(Value, String)> {
        let line = serde_json::to_value(line).map_err(|e| io(&self.path, "write")(e.into()))?;
        let text = format!("{line}\n");
        Ok((line, text))
    }
}

/// Opens a log, which is made if it is missing, for appending.
fn appending(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(io(path, "open"))
}

/// The lines that a log has at `step` with `epochs_done`, and their length in bytes. The first epochs may be missing,
/// as in a run whose log was removed. Where the line of an epoch follows that of the same epoch, only the second one is
/// returned: older programs added it when a run ended early, where this one replaces the first.
///
/// # Errors
/// Contents that no run of this program leaves, described in words: a complete line that does not belong to a log,
/// epochs that do not follow each other, fewer epochs than are done.
pub(crate) fn left(
    bytes: &[u8],
    step: u64,
    epochs_done: u64,
) -> std::result::Result<(usize, Vec<Value>), String> {
    let (mut kept, mut lines, mut last) = (0, Vec::new(), None::<u64>);
    for (number, line) in (1u64..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        // A process that was killed leaves at most a part of a line, at the end.
        if !line.ends_with(b"\n") {
            break;
        }
        let value: Option<Value> = serde_json::from_slice(line).ok();
        let at = value.as_ref().and_then(|value| value["step"].as_u64());
        let epoch =
            value.as_ref().filter(|value| value["kind"] == "epoch").map(|value| value["epoch"].as_u64());
        let (Some(value), Some(at)) = (value, at) else {
            return Err(format!("line {number} is not a line of a log"));
        };
        // The checkpoint of an epoch's last step may be older than the epoch's line; the end of the epoch is then
        // logged again.
        match epoch {
            _ if at > step => break,
            None => {}
            Some(None) => return Err(format!("line {number} is not a line of a log")),
            Some(Some(epoch)) if epoch > epochs_done => break,
            Some(Some(epoch)) => {
                if last == Some(epoch) && lines.last().is_some_and(|line: &Value| line["kind"] == "epoch") {
                    lines.pop();
                } else if let Some(before) = last.filter(|&before| before + 1 != epoch) {
                    return Err(format!(
                        "line {number} is of epoch {epoch}, but epoch {before} is before it"
                    ));
                }
                last = Some(epoch);
            }
        }
        kept += line.len();
        lines.push(value);
    }
    match last {
        Some(last) if last < epochs_done => {
            Err(format!("it ends with epoch {last}, but {epochs_done} epochs are done"))
        }
        _ => Ok((kept, lines)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_no_run_leaves_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let epoch = |n: u64| format!("{{\"kind\":\"epoch\",\"epoch\":{n},\"step\":{n}}}\n");
        let of = |epochs: &[u64]| epochs.iter().map(|&n| epoch(n)).collect::<String>();
        for (text, expected) in [
            (of(&[1, 2, 3]), Ok(3)),
            (of(&[1, 2, 3, 4]) + "{\"kind\":\"ep", Ok(3)),
            (of(&[1, 2, 2, 3]), Ok(3)),
            (of(&[2, 3]), Ok(2)),
            (String::new(), Ok(0)),
            (format!("garbage\n{}", of(&[1, 2, 3])), Err("line 1 is not a line of a log")),
            (of(&[1, 2, 3]).replace("\"epoch\":2", "\"epoch\":NaN"), Err("line 2 is not a line of a log")),
            (of(&[1, 2]) + "{\"kind\":\"epoch\",\"step\":3}\n", Err("line 3 is not a line of a log")),
            (of(&[1, 3]), Err("line 2 is of epoch 3, but epoch 1 is before it")),
            (of(&[1, 2, 3, 1, 2, 3]), Err("line 4 is of epoch 1, but epoch 3 is before it")),
            (of(&[1, 2]), Err("it ends with epoch 2, but 3 epochs are done")),
        ] {
            fs::write(&path, &text).unwrap();
            match (MetricsLog::open(&path, 3, 3), expected) {
                (Ok((_, left)), Ok(count)) => assert_eq!(left.len(), count, "{text}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                    assert_eq!(fs::read_to_string(&path).unwrap(), text);
                }
                (found, expected) => {
                    panic!("{text}: {:?}, expected {expected:?}", found.map(|(_, left)| left))
                }
            }
        }
    }

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

    #[test]
    fn a_line_that_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = "{\"kind\":\"step\",\"step\":2}\n{\"kind\":\"epoch\",\"epoch\":1,\"step\":2}\n";
        fs::write(&path, text).unwrap();
        let (mut log, _) = MetricsLog::open(&path, 2, 1).unwrap();
        // The name of the temporary file is taken by a folder, so the write cannot start.
        let blocked = crate::atomic::partial_of(&path);
        fs::create_dir(&blocked).unwrap();
        let again = EpochMetrics { epoch: 1, step: 2, ..epoch_metrics() };
        assert!(log.epoch_again(&again).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::remove_dir(&blocked).unwrap();
        let line = log.epoch_again(&again).unwrap();
        let next = log.epoch(&EpochMetrics { epoch: 2, step: 4, ..epoch_metrics() }).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{first}\n{line}\n{next}\n"));
    }

    fn epoch_metrics() -> EpochMetrics {
        let line = serde_json::json!({
            "epoch": 1, "step": 1, "train_loss": 1.0, "train_accuracy": 0.5, "learning_rate": 0.1, "grad_norm": 1.0,
            "penalties": {}, "seconds": 1.0,
        });
        serde_json::from_value(line).unwrap()
    }
}
