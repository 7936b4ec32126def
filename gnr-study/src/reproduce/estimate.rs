//! `--dry-run`: the runs, what they cost in gradients, and how long that takes on this machine by a short calibration.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::Deserialize;

use super::plan::Net;
use super::progress::short;
use super::runner::{Run, Schedule};

/// Work of a calibration step: half a second or so on a core, whatever the net; the best of a few counts.
const CALIBRATION_MFLOP: f64 = 2_000.0;

/// Prints every run with its state, and what the unfinished ones of each net come to.
pub(super) fn show(runs: &[Run], schedule: Result<&Schedule<'_>>) {
    for run in runs {
        let state = match (run.finished, run.started()) {
            (true, _) => "finished",
            (false, true) => "to continue",
            (false, false) => "to train",
        };
        println!("{state:<12} {:<44} {:>12.0} gradients  {}", run.name, run.gradients, run.folder.display());
    }
    let left: Vec<&Run> = runs.iter().filter(|run| !run.finished).collect();
    println!("{} of {} runs to train", left.len(), runs.len());
    let schedule = match schedule {
        Ok(schedule) => schedule,
        Err(error) => {
            println!("no estimate of the time: {error:#}");
            return;
        }
    };
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["net", "runs", "gradients", "ms a gradient (batch)", "time of a core"]);
    let (mut total, mut unknown) = (0.0, 0);
    for net in nets(&left) {
        let of: Vec<&&Run> = left.iter().filter(|run| run.net == *net).collect();
        let gradients: f64 = of.iter().map(|run| run.gradients).sum();
        let (ms, time) = match calibrate(net, schedule) {
            Ok(per_image) => {
                let work: f64 = of.iter().map(|run| net.image_gradients(run.case.method)).sum();
                let seconds = work * per_image;
                total += seconds;
                (format!("{:.1} ({})", 1e3 * per_image * net.batch as f64, net.batch), short(seconds))
            }
            Err(error) => {
                unknown += of.len();
                (format!("{error:#}"), "unknown".into())
            }
        };
        table.add_row([net.heading(), of.len().to_string(), format!("{gradients:.0}"), ms, time]);
    }
    if left.is_empty() {
        return;
    }
    println!("{table}");
    if unknown == left.len() {
        println!("no estimate of the time: no net could be calibrated");
        return;
    }
    let jobs = schedule.jobs.min(left.len());
    println!(
        "about {} with {jobs} at a time{}; by a short calibration of one gradient of each net, so within a factor of two",
        short(total / jobs as f64),
        if unknown > 0 { format!(", without {unknown} runs of unknown length") } else { String::new() }
    );
}

/// The different nets, in order.
fn nets<'a>(runs: &[&'a Run]) -> Vec<&'a Net> {
    let mut nets: Vec<&Net> = Vec::new();
    for run in runs {
        if !nets.contains(&&run.net) {
            nets.push(&run.net);
        }
    }
    nets
}

/// Seconds of the gradient of one image, by `gnr bench` on random data.
fn calibrate(net: &Net, schedule: &Schedule<'_>) -> Result<f64> {
    #[derive(Deserialize)]
    struct Line {
        min_ms: f64,
    }
    let batch = ((CALIBRATION_MFLOP / net.mflop) as u64).clamp(2, net.batch);
    let mut command = Command::new(schedule.gnr);
    command.args(["bench", "--model", net.model, "--method", "gradient", "--rounds", "4"]);
    command.args(["--batch", &batch.to_string(), "--threads", &schedule.threads.to_string()]);
    command.args(["--classes", &net.dataset.classes().to_string(), "--input", &joined(&net.input())]);
    if let Some(widths) = net.widths {
        command.args(["--widths", &joined(widths)]);
    }
    let output = command.output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{}", told.lines().next().unwrap_or("the calibration failed"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| serde_json::from_str::<Line>(line).ok());
    let line = line.ok_or_else(|| anyhow!("`gnr bench` printed no timing"))?;
    Ok(line.min_ms / 1e3 / batch as f64)
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// How many threads each of `jobs` runs gets on this many cores.
pub(super) fn threads(cores: usize, jobs: usize) -> usize {
    (cores / jobs.max(1)).max(1)
}

/// Where `gnr` is, as one reads it in a schedule.
pub(super) fn schedule(gnr: &Path, jobs: usize, cores: usize) -> Schedule<'_> {
    Schedule { gnr, jobs, threads: threads(cores, jobs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_among_the_jobs() {
        for (cores, jobs, expect) in [(8, 8, 1), (8, 3, 2), (2, 1, 2), (2, 5, 1)] {
            assert_eq!(threads(cores, jobs), expect);
        }
    }
}
