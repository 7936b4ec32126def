//! From run folders to numbers: `summary.json` and `metrics.jsonl` as a run writes them.

use std::{fs, io::ErrorKind, path::Path};

use gnr_train::{Best, EpochMetrics};
use serde::Deserialize;

use crate::error::{Result, StudyError, io};

/// What a study needs of a finished run's `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Summarized {
    /// Whether the run reached its end.
    #[serde(default)]
    pub finished: bool,
    /// Of the last epoch, a fraction.
    pub test_accuracy: Option<f64>,
    /// Of the last epoch.
    pub test_loss: Option<f64>,
    /// On the held-out images after the last epoch, a fraction.
    pub val_accuracy: Option<f64>,
    /// On the test images, of the averaged weights, where the run averages.
    pub average_test_accuracy: Option<f64>,
    /// On the held-out images, of the averaged weights.
    pub average_val_accuracy: Option<f64>,
    /// Number of steps done.
    pub steps: Option<u64>,
    /// Wall-clock time of all epochs.
    pub seconds: Option<f64>,
    /// Gradients of a whole batch.
    pub gradient_evaluations: Option<u64>,
    /// Number of Hessian-vector products.
    pub products: Option<u64>,
    /// The checkpoint that the run holds for the best.
    pub best: Option<Best>,
    /// Commit of the program that finished the run.
    pub commit: Option<String>,
}

impl Summarized {
    /// Test accuracy, a fraction: that of the averaged weights, where the run averages, else of the last.
    pub fn method_accuracy(&self) -> Option<f64> {
        self.average_test_accuracy.or(self.test_accuracy)
    }

    /// Held-out accuracy, a fraction: that of the averaged weights, where the run averages, else of the last.
    pub fn held_out_accuracy(&self) -> Option<f64> {
        self.average_val_accuracy.or(self.val_accuracy)
    }
}

/// Whether a run folder has its summary.
pub(crate) fn is_finished(folder: &Path) -> bool {
    folder.join("summary.json").is_file()
}

/// A run's summary. `None` when there is none, or when it was cut off in writing.
///
/// # Errors
/// A file that cannot be read.
pub fn summary(folder: &Path) -> Result<Option<Summarized>> {
    let path = folder.join("summary.json");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path, "read")(error)),
    }
}

/// The summary of a run that must be finished.
///
/// # Errors
/// A summary that is missing, cut off, or without a test accuracy.
pub fn finished_summary(folder: &Path) -> Result<Summarized> {
    summary(folder)?.filter(|found| found.finished && found.test_accuracy.is_some()).ok_or_else(|| {
        StudyError::File {
            path: folder.join("summary.json"),
            problem: "expected the summary of a finished run with its test_accuracy; remove the run to train it again"
                .into(),
        }
    })
}

/// The epochs of a run.
///
/// # Errors
/// A file that cannot be read.
pub fn epochs(folder: &Path) -> Result<Vec<EpochMetrics>> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(io(&path, "read"))?;
    Ok(parse_epochs(&text))
}

/// A run that was killed may leave half a line, and one that was resumed may repeat an epoch: what is not whole is left
/// out, and the last line of an epoch counts.
fn parse_epochs(text: &str) -> Vec<EpochMetrics> {
    #[derive(Deserialize)]
    struct Line {
        kind: String,
        #[serde(flatten)]
        rest: serde_json::Value,
    }
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    for line in text.lines() {
        let Ok(Line { kind, rest }) = serde_json::from_str(line) else { continue };
        if kind != "epoch" {
            continue;
        }
        let Ok(epoch) = serde_json::from_value::<EpochMetrics>(rest) else { continue };
        epochs.retain(|earlier| earlier.epoch < epoch.epoch);
        epochs.push(epoch);
    }
    epochs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(epoch: u64, loss: f64) -> String {
        format!(
            "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{epoch},\"train_loss\":{loss},\"train_accuracy\":0.5,\
             \"learning_rate\":0.1,\"grad_norm\":1.0,\"penalties\":{{}},\"seconds\":0.1,\"new\":[1]}}\n"
        )
    }

    #[test]
    fn half_written_and_foreign_lines_are_left_out() {
        let text = [
            "{\"kind\":\"step\",\"t\":1}\n".to_owned(),
            line(1, 2.0),
            "not json\n".into(),
            line(2, 1.0),
            "{\"kind\":\"epoch\",\"epoch\":3,\"train_lo".into(),
        ];
        let epochs = parse_epochs(&text.concat());
        assert_eq!(epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_last_line_of_a_repeated_epoch_counts() {
        let epochs = parse_epochs(&[line(1, 3.0), line(2, 2.0), line(2, 1.5), line(3, 1.0)].concat());
        assert_eq!(epochs.iter().map(|epoch| epoch.train_loss).collect::<Vec<_>>(), [3.0, 1.5, 1.0]);
    }

    #[test]
    fn a_summary_is_there_cut_off_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None);
        let path = folder.path().join("summary.json");
        fs::write(&path, "{\"finished\":tr").unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None, "cut off");
        fs::write(&path, "{\"finished\":true,\"test_accuracy\":0.9,\"steps\":3}").unwrap();
        let expected =
            Summarized { finished: true, test_accuracy: Some(0.9), steps: Some(3), ..Summarized::default() };
        assert_eq!(summary(folder.path()).unwrap(), Some(expected));
    }
}
