//! From run folders to numbers: `summary.json` and `metrics.jsonl` as `gnr train` writes them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::plan::{Case, Method, Plan};
use super::runner::Run;
use crate::statistics::{Summary, median};

/// An epoch of a run: what the curves show.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Epoch {
    pub(super) epoch: u64,
    /// Mean over the epoch's batches.
    pub(super) train_loss: Option<f64>,
    /// Fraction.
    pub(super) test_accuracy: Option<f64>,
    /// Of this epoch, evaluation included.
    pub(super) seconds: Option<f64>,
    /// Without evaluation.
    pub(super) train_seconds: Option<f64>,
}

/// The end of a finished run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Summarized {
    #[serde(default)]
    pub(super) finished: bool,
    /// Fraction.
    pub(super) test_accuracy: Option<f64>,
    pub(super) test_loss: Option<f64>,
    pub(super) steps: Option<u64>,
    /// Gradients of a whole batch.
    pub(super) gradient_evaluations: Option<u64>,
    /// Hessian-vector products.
    pub(super) products: Option<u64>,
}

/// A finished run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) case: Case,
    /// Of the last epoch, per cent.
    pub(super) accuracy: f64,
    pub(super) epochs: Vec<Epoch>,
    /// Gradients and products a step, as the program counted them.
    pub(super) work: Option<[f64; 2]>,
    /// Commit that trained it.
    pub(super) commit: Option<String>,
}

/// All finished runs of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    pub(super) outcomes: Vec<Outcome>,
}

impl Results {
    /// The runs of one cell, by seed.
    pub(super) fn cell(&self, net: usize, method: Method) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.case.net == net && outcome.case.method == method)
    }

    /// Accuracy of a cell in per cent over its seeds.
    pub(super) fn accuracy(&self, net: usize, method: Method) -> Option<Summary> {
        Summary::of(&self.cell(net, method).map(|outcome| outcome.accuracy).collect::<Vec<_>>())
    }

    /// Differences in percentage points, method − base, over the seeds that both have finished.
    pub(super) fn paired(&self, net: usize, method: Method, base: Method) -> Option<Summary> {
        let differences: Vec<f64> = self
            .cell(net, method)
            .filter_map(|outcome| {
                let pair = self.cell(net, base).find(|other| other.case.seed == outcome.case.seed)?;
                Some(outcome.accuracy - pair.accuracy)
            })
            .collect();
        Summary::of(&differences)
    }

    /// Gradients and products a step: the same for every seed.
    pub(super) fn work(&self, net: usize, method: Method) -> Option<[f64; 2]> {
        self.cell(net, method).find_map(|outcome| outcome.work)
    }

    /// Median seconds of an epoch over all epochs and seeds of a cell.
    pub(super) fn epoch_seconds(&self, net: usize, method: Method) -> Option<f64> {
        let seconds: Vec<f64> = self
            .cell(net, method)
            .flat_map(|outcome| &outcome.epochs)
            .filter_map(|epoch| epoch.train_seconds.or(epoch.seconds))
            .collect();
        median(&seconds)
    }
}

/// Reads the finished runs; others are left out.
pub(super) fn read(plan: &Plan, runs: &[Run]) -> Result<Results> {
    let mut results = Results::default();
    for (case, run) in plan.cases.iter().zip(runs) {
        let Some(summary) = summary(&run.folder)?.filter(|summary| summary.finished) else { continue };
        let path = run.folder.join("metrics.jsonl");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let epochs = epochs(&text);
        let accuracy = summary.test_accuracy.or_else(|| epochs.last().and_then(|epoch| epoch.test_accuracy));
        let Some(accuracy) = accuracy else { continue };
        let per_step =
            |count: Option<u64>| Some(count? as f64 / summary.steps.filter(|steps| *steps > 0)? as f64);
        results.outcomes.push(Outcome {
            work: per_step(summary.gradient_evaluations)
                .and_then(|gradients| Some([gradients, per_step(summary.products)?])),
            case: *case,
            accuracy: 100.0 * accuracy,
            epochs,
            commit: run.commit(),
        });
    }
    Ok(results)
}

/// A run's summary; none when there is none, or when it was cut off in writing.
///
/// # Errors
/// When the file is there and cannot be read.
pub(super) fn summary(folder: &Path) -> Result<Option<Summarized>> {
    let path = folder.join("summary.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The epochs of a metrics file. A run that was killed may leave half a line, and one that was resumed may repeat an
/// epoch: what is not whole is left out, and the last of an epoch counts.
pub(super) fn epochs(text: &str) -> Vec<Epoch> {
    #[derive(Deserialize)]
    struct Line {
        kind: String,
        #[serde(flatten)]
        rest: serde_json::Value,
    }
    let mut epochs: Vec<Epoch> = Vec::new();
    for line in text.lines() {
        let Ok(Line { kind, rest }) = serde_json::from_str(line) else { continue };
        if kind != "epoch" {
            continue;
        }
        let Ok(epoch) = serde_json::from_value::<Epoch>(rest) else { continue };
        epochs.retain(|earlier| earlier.epoch < epoch.epoch);
        epochs.push(epoch);
    }
    epochs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_written_and_foreign_lines_are_left_out() {
        let text = "{\"kind\":\"step\",\"t\":1}\n\
                    {\"kind\":\"epoch\",\"epoch\":1,\"train_loss\":2.0,\"test_accuracy\":0.5,\"seconds\":0.1,\"new\":[1]}\n\
                    not json\n\
                    {\"kind\":\"epoch\",\"epoch\":2,\"train_loss\":null,\"test_accuracy\":0.6,\"seconds\":0.1}\n\
                    {\"kind\":\"epoch\",\"epoch\":3,\"train_lo";
        let epochs = epochs(text);
        assert_eq!(epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((epochs[0].test_accuracy, epochs[1].train_loss), (Some(0.5), None));
    }

    #[test]
    fn a_resumed_run_counts_its_last_words() {
        let line = |epoch: u64, loss: f64| {
            format!("{{\"kind\":\"epoch\",\"epoch\":{epoch},\"train_loss\":{loss}}}\n")
        };
        let epochs = epochs(&[line(1, 3.0), line(2, 2.0), line(2, 1.5), line(3, 1.0)].concat());
        assert_eq!(epochs.iter().filter_map(|epoch| epoch.train_loss).collect::<Vec<_>>(), [3.0, 1.5, 1.0]);
    }

    #[test]
    fn summaries() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None);
        let path = folder.path().join("summary.json");
        std::fs::write(&path, "{\"finished\":tr").unwrap();
        assert_eq!(summary(folder.path()).unwrap(), None, "cut off");
        std::fs::write(&path, "{\"finished\":true,\"test_accuracy\":0.9,\"steps\":3}").unwrap();
        assert_eq!(
            summary(folder.path()).unwrap(),
            Some(Summarized {
                finished: true,
                test_accuracy: Some(0.9),
                test_loss: None,
                steps: Some(3),
                ..Summarized::default()
            })
        );
    }
}
