//! The result of a sweep: the mean validation accuracy of every combination, and how sure the choice is.

use std::path::Path;

use gnr_train::Recipe;
use serde::Serialize;

use super::{Axis, Sweep, grid::Edge};
use crate::{
    error::{Result, StudyError, io},
    results::{finished_summary, is_finished},
    runner::Failure,
};

/// One combination of values, with its results.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The values, in the order of the axes.
    pub values: Vec<String>,
    /// Validation accuracy after the last epoch of each finished seed, as a fraction.
    pub val_accuracies: Vec<f64>,
    /// Mean validation accuracy; `None` when a seed failed or is not finished: a combination that diverges once is not
    /// chosen.
    pub mean: Option<f64>,
    /// Test accuracy of each finished seed. These accuracies decide nothing.
    pub test_accuracies: Vec<f64>,
    /// Whether a seed collapsed to one output for all images.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub collapsed: bool,
    /// The reasons of the seeds that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// A finished sweep.
#[derive(Clone, Debug)]
pub struct SweepResult {
    /// Axes of the grid.
    pub axes: Vec<Axis>,
    /// Every combination; the last axis moves fastest.
    pub points: Vec<Point>,
    /// Index of the best combination.
    pub best: usize,
    /// Standard error of the best mean accuracy that comes of the number of validation images alone, as a fraction.
    pub standard_error: f64,
    /// Number of validation images of the best combination.
    pub validation_images: usize,
    /// The chosen recipe, on all images.
    chosen: Recipe,
}

/// Validation and test accuracy of a finished run, of its averaged weights where it averages; and whether it collapsed.
fn found(folder: &Path) -> Result<Option<(f64, f64, bool)>> {
    if !is_finished(folder) {
        return Ok(None);
    }
    let found = finished_summary(folder)?;
    match (found.held_out_accuracy(), found.method_accuracy()) {
        (Some(validation), Some(test)) => Ok(Some((validation, test, found.collapsed_at_epoch.is_some()))),
        _ => Err(StudyError::File {
            path: folder.join("summary.json"),
            problem: "expected val_accuracy beside test_accuracy; remove the run to train it again".into(),
        }),
    }
}

/// Collects the results of the runs.
///
/// `validation_images` has the number of validation images of each combination.
pub(super) fn collect(
    sweep: &Sweep,
    validation_images: &[usize],
    failures: &[Failure],
) -> Result<SweepResult> {
    let axes = sweep.request.axes.clone();
    let mut points: Vec<Point> = sweep
        .points
        .iter()
        .map(|point| Point {
            values: axes.iter().zip(point).map(|(axis, &i)| axis.label(i)).collect(),
            val_accuracies: Vec::new(),
            mean: None,
            test_accuracies: Vec::new(),
            collapsed: false,
            failures: Vec::new(),
        })
        .collect();
    for (run, &point) in sweep.runs.iter().zip(&sweep.of) {
        if let Some((validation, test, collapsed)) = found(&run.folder)? {
            points[point].collapsed |= collapsed;
            points[point].val_accuracies.push(validation);
            points[point].test_accuracies.push(test);
        }
    }
    for failure in failures {
        points[sweep.of[failure.run]].failures.push(failure.reason.clone());
    }
    for point in &mut points {
        let values = &point.val_accuracies;
        if values.len() as u64 == sweep.request.seeds {
            point.mean = Some(values.iter().sum::<f64>() / values.len() as f64);
        }
    }
    let means = points.iter().enumerate().filter_map(|(index, point)| Some((index, point.mean?)));
    // The first of equal combinations counts, because smaller values stand first on the usual axes.
    let best = means.fold(None, |best: Option<(usize, f64)>, (index, mean)| match best {
        Some((_, highest)) if highest >= mean => best,
        _ => Some((index, mean)),
    });
    let Some((best, mean)) = best else {
        let reason = points.iter().find_map(|point| point.failures.first()).cloned().unwrap_or_default();
        return Err(StudyError::File {
            path: sweep.request.folder.clone(),
            problem: format!("no combination of the grid could be trained, the first because: {reason}"),
        });
    };
    let validation_images = validation_images[best];
    let standard_error = standard_error(mean, validation_images);
    Ok(SweepResult {
        axes,
        points,
        best,
        standard_error,
        validation_images,
        chosen: sweep.chosen[best].clone(),
    })
}

/// The standard error of an accuracy that comes of the number of images alone. All seeds share the validation images,
/// so that the mean of several seeds has the error of one.
fn standard_error(accuracy: f64, images: usize) -> f64 {
    (accuracy * (1.0 - accuracy) / images.max(1) as f64).sqrt()
}

impl SweepResult {
    /// The chosen values: `method.gnr.rho=0.1`.
    pub fn chosen(&self) -> Vec<String> {
        let keys = self.axes.iter().map(|axis| &axis.key);
        keys.zip(&self.points[self.best].values).map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// The result in words.
    pub fn words(&self) -> String {
        let best = &self.points[self.best];
        let mean = best.mean.unwrap_or_default();
        let near = self
            .points
            .iter()
            .filter(|point| point.mean.is_some_and(|other| mean - other <= self.standard_error))
            .count()
            .saturating_sub(1);
        let failed = self.points.iter().filter(|point| point.mean.is_none()).count();
        let mut told = format!(
            "chosen: {} with {:.2} % validation accuracy (mean of {}). {} validation images alone give it a standard error of \
             {:.2} points; {near} of {} other combinations are within it, so the choice among them is arbitrary",
            self.chosen().join(" "),
            100.0 * mean,
            match best.val_accuracies.len() {
                1 => "one seed".to_owned(),
                n => format!("{n} seeds"),
            },
            self.validation_images,
            100.0 * self.standard_error,
            self.points.len() - 1,
        );
        if near == 0 {
            told = told.replace(", so the choice among them is arbitrary", "");
        }
        if failed > 0 {
            told += &format!("; {failed} could not be trained to the end");
        }
        let collapsed = self.points.iter().filter(|point| point.collapsed).count();
        if collapsed > 0 {
            told += &format!("; {collapsed} collapsed to one output for all images");
        }
        told += ".";
        for (axis, value) in self.axes.iter().zip(&best.values) {
            let (end, further) = match value.parse().ok().and_then(|value| axis.edge(value)) {
                Some(Edge::Smallest) => ("smallest", "smaller"),
                Some(Edge::Largest) => ("largest", "larger"),
                None => continue,
            };
            told +=
                &format!(" {}={value} is the {end} value tried: a {further} one may be better.", axis.key);
        }
        told
    }

    /// The file `sweep.json`.
    pub(super) fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            axes: Vec<(&'a str, Vec<String>)>,
            points: &'a [Point],
            best: usize,
            chosen: Vec<String>,
            standard_error: f64,
            validation_images: usize,
        }
        let labels = |axis: &Axis| (0..axis.values.len()).map(|i| axis.label(i)).collect();
        let file = File {
            axes: self.axes.iter().map(|axis| (axis.key.as_str(), labels(axis))).collect(),
            points: &self.points,
            best: self.best,
            chosen: self.chosen(),
            standard_error: self.standard_error,
            validation_images: self.validation_images,
        };
        let text = serde_json::to_string_pretty(&file);
        Ok(text.map_err(|e| io(Path::new("sweep.json"), "write")(e.into()))? + "\n")
    }

    /// `chosen.toml`: the recipe with the chosen values, on all training images (unless the recipe itself held some
    /// out).
    pub(super) fn chosen_recipe(&self) -> Result<String> {
        Ok(format!("# {}\n\n{}", self.words(), self.chosen.to_toml()?))
    }
}
