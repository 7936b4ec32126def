//! From run folders to numbers: `summary.json` and `metrics.jsonl` as a run writes them.

use std::{fs, io::ErrorKind, path::Path};

use gnr_train::{Best, EpochMetrics};
use serde::Deserialize;

use crate::{
    error::{Result, StudyError, io},
    follow::Log,
};

/// The parts of a finished run's `summary.json` that a study needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Summarized {
    /// Whether the run reached its end.
    #[serde(default)]
    pub finished: bool,
    /// Test accuracy after the last epoch, a fraction.
    pub test_accuracy: Option<f64>,
    /// Test loss after the last epoch.
    pub test_loss: Option<f64>,
    /// Accuracy on the held-out images after the last epoch, a fraction.
    pub val_accuracy: Option<f64>,
    /// Test accuracy of the averaged weights, where the run averages.
    pub average_test_accuracy: Option<f64>,
    /// Accuracy of the averaged weights on the held-out images.
    pub average_val_accuracy: Option<f64>,
    /// Number of epochs done when the run collapsed: from that evaluation on, every validation (or else test) image got
    /// the same output.
    pub collapsed_at_epoch: Option<u64>,
    /// Number of steps done.
    pub steps: Option<u64>,
    /// Wall-clock seconds of all epochs.
    pub seconds: Option<f64>,
    /// Number of gradients, in units of a whole batch.
    pub gradient_evaluations: Option<f64>,
    /// Number of Hessian-vector products, in units of a whole batch.
    pub products: Option<f64>,
    /// The best checkpoint of the run.
    pub best: Option<Best>,
    /// Commit of the program that finished the run.
    pub commit: Option<String>,
    /// The commits of the programs that trained the run before that one went on.
    #[serde(default)]
    pub earlier_commits: Vec<String>,
    /// The result of the recipe's label noise.
    pub label_noise: Option<Flipped>,
}

/// Number of training labels that are wrong on purpose, and of all training labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Flipped {
    /// Number of images whose label is not the published one.
    pub flipped: u64,
    /// Number of training images.
    pub of: u64,
}

impl Summarized {
    /// Test accuracy, a fraction: that of the averaged weights where the run averages, otherwise that of the last
    /// weights.
    pub fn method_accuracy(&self) -> Option<f64> {
        self.average_test_accuracy.or(self.test_accuracy)
    }

    /// The commits of all programs that trained the run, one after the other: `a then b`. `None` if the last one is
    /// not known.
    pub fn commits(&self) -> Option<String> {
        let last = self.commit.as_ref()?;
        Some(self.earlier_commits.iter().chain([last]).cloned().collect::<Vec<_>>().join(" then "))
    }

    /// Held-out accuracy, a fraction: that of the averaged weights where the run averages, otherwise that of the last
    /// weights.
    pub fn held_out_accuracy(&self) -> Option<f64> {
        self.average_val_accuracy.or(self.val_accuracy)
    }
}

/// Whether a run is finished: its summary can be parsed and says so.
///
/// A summary that is cut off does not count, and training the run again writes it anew. A summary that the system does
/// not let us read counts, so that the run is not trained again; reading it later gives the error.
pub fn is_finished(folder: &Path) -> bool {
    summary(folder).map_or(true, |found| found.is_some_and(|summary| summary.finished))
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

/// The epochs of a run. Incomplete lines are left out, and the last line of a repeated epoch counts.
///
/// # Errors
/// A file that cannot be read.
pub fn epochs(folder: &Path) -> Result<Vec<EpochMetrics>> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(io(&path, "read"))?;
    Ok(Log::of(&text).epochs().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_there_cut_off_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None);
        let path = folder.path().join("summary.json");
        fs::write(&path, "{\"finished\":tr").unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None, "cut off");
        assert!(!is_finished(folder.path()), "cut off");
        fs::write(&path, "{\"finished\":false,\"test_accuracy\":0.9}").unwrap();
        assert!(!is_finished(folder.path()));
        fs::write(&path, "{\"finished\":true,\"test_accuracy\":0.9,\"steps\":3}").unwrap();
        let expected =
            Summarized { finished: true, test_accuracy: Some(0.9), steps: Some(3), ..Summarized::default() };
        assert_eq!(summary(folder.path()).unwrap(), Some(expected));
        assert!(is_finished(folder.path()));
    }
}
