//! The results of a plan's finished runs.

use gnr_train::EpochMetrics;

use super::{
    plan::{Case, Method},
    runs::Planned,
};
use crate::{
    error::Result,
    results::{epochs, summary},
    statistics::{Summary, median},
};

/// A finished run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) case: Case,
    /// Test accuracy after the last epoch, per cent.
    pub(super) accuracy: f64,
    pub(super) epochs: Vec<EpochMetrics>,
    /// Gradients and products a step, as the program counted them.
    pub(super) work: Option<[f64; 2]>,
    /// Commit of the program that trained the run.
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

    /// Gradients and products a step, which are equal for every seed.
    pub(super) fn work(&self, net: usize, method: Method) -> Option<[f64; 2]> {
        self.cell(net, method).find_map(|outcome| outcome.work)
    }

    /// Median seconds of an epoch over all epochs and seeds of a cell.
    pub(super) fn epoch_seconds(&self, net: usize, method: Method) -> Option<f64> {
        let seconds: Vec<f64> = self
            .cell(net, method)
            .flat_map(|outcome| &outcome.epochs)
            .map(|epoch| epoch.train_seconds.unwrap_or(epoch.seconds))
            .collect();
        median(&seconds)
    }
}

/// Reads the finished runs; others are left out.
///
/// # Errors
/// Files that cannot be read.
pub(super) fn read(runs: &[Planned]) -> Result<Results> {
    let mut results = Results::default();
    for Planned { case, run, .. } in runs {
        let Some(summary) = summary(&run.folder)?.filter(|summary| summary.finished) else { continue };
        let Some(accuracy) = summary.test_accuracy else { continue };
        let per_step = |count: Option<f64>| Some(count? / summary.steps.filter(|steps| *steps > 0)? as f64);
        results.outcomes.push(Outcome {
            work: per_step(summary.gradient_evaluations)
                .and_then(|gradients| Some([gradients, per_step(summary.products)?])),
            case: *case,
            accuracy: 100.0 * accuracy,
            epochs: epochs(&run.folder)?,
            commit: summary.commits(),
        });
    }
    Ok(results)
}
