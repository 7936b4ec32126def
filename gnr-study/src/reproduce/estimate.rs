//! A dry run: the runs, their cost in gradients, and an estimate of their time on this machine by a short calibration.

use gnr_train::BenchRequest;

use super::{Say, plan::Net, progress::short, runs::Planned};
use crate::{
    error::{Result, StudyError},
    report::{Block, Document},
    runner::Workers,
};

/// Work of a calibration step in millions of multiplications of forward passes: about half a second on a core, for any
/// net. The fastest of a few steps counts.
const CALIBRATION_MFLOP: f64 = 2_000.0;
/// Number of timed steps.
const ROUNDS: usize = 4;

/// Lists every run with its state, and the cost of each net's unfinished runs.
pub(super) fn show(runs: &[Planned], workers: Workers, say: Say<'_>) {
    for planned in runs {
        let run = &planned.run;
        let state = match (planned.finished, run.folder.is_dir()) {
            (true, _) => "finished",
            (false, true) => "to continue",
            (false, false) => "to train",
        };
        let (name, folder) = (&run.name, run.folder.display());
        say(&format!("{state:<12} {name:<44} {:>12.0} gradients  {folder}", planned.gradients));
    }
    let left: Vec<&Planned> = runs.iter().filter(|planned| !planned.finished).collect();
    say(&format!("{} of {} runs to train", left.len(), runs.len()));
    if left.is_empty() {
        return;
    }
    let mut rows = Vec::new();
    let (mut total, mut unknown) = (0.0, 0);
    for planned in nets(&left) {
        let net = &planned.net;
        let of: Vec<&&Planned> = left.iter().filter(|planned| planned.net == *net).collect();
        let gradients: f64 = of.iter().map(|planned| planned.gradients).sum();
        let (ms, time) = match calibrate(planned, workers.threads) {
            Ok(per_image) => {
                let work: f64 = of.iter().map(|planned| net.image_gradients(planned.case.method)).sum();
                let seconds = work * per_image;
                total += seconds;
                (format!("{:.1} ({})", 1e3 * per_image * net.batch as f64, net.batch), short(seconds))
            }
            Err(error) => {
                unknown += of.len();
                (error.to_string(), "unknown".into())
            }
        };
        rows.push(vec![net.heading(), of.len().to_string(), format!("{gradients:.0}"), ms, time]);
    }
    let header =
        ["net", "runs", "gradients", "ms a gradient (batch)", "time of a core"].map(String::from).to_vec();
    let table = Document { title: String::new(), blocks: vec![Block::Table { header, rows }] };
    say(table.terminal().trim());
    if unknown == left.len() {
        say("no estimate of the time: no net could be calibrated");
        return;
    }
    let jobs = workers.jobs.min(left.len());
    say(&format!(
        "about {} with {jobs} at a time{}; by a short calibration of one gradient of each net, so within a factor of two",
        short(total / jobs as f64),
        if unknown > 0 { format!(", without {unknown} runs of unknown length") } else { String::new() }
    ));
}

/// A run of each different net, in order.
fn nets<'a>(runs: &[&'a Planned]) -> Vec<&'a Planned> {
    let mut nets: Vec<&Planned> = Vec::new();
    for run in runs {
        if !nets.iter().any(|known| known.net == run.net) {
            nets.push(run);
        }
    }
    nets
}

/// Seconds of the gradient of one image, on random data.
fn calibrate(planned: &Planned, threads: usize) -> Result<f64> {
    let net: &Net = &planned.net;
    let batch = ((CALIBRATION_MFLOP / net.mflop) as u64).clamp(2, net.batch) as usize;
    let (classes, input) = (net.dataset.classes(), net.input());
    let request = BenchRequest::gradient(&planned.run.recipe, classes, input, batch, ROUNDS, threads)?;
    let lines = gnr_train::bench(&request)?;
    let line = lines.first().ok_or_else(|| StudyError::Request("the calibration timed nothing".into()))?;
    Ok(line.min_ms / 1e3 / batch as f64)
}
