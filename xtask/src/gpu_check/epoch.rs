//! Images a second of real epochs, with everything that training does: loading, augmentation, upload, step.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{clock::Clock, program::Programs};
use crate::median::median;
use crate::workspace::root;

/// Folder of the run, relative to the root.
const FOLDER: &str = "target/gpu-check/epoch";
/// Images in a batch.
const BATCH: u64 = 64;
/// Number of epochs, of which the first warms up.
const EPOCHS: u64 = 4;

/// The measurement of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Epoch {
    /// Recipe keys of the data; empty: the embedded digits.
    data: Vec<String>,
    /// Median over the epochs after the first.
    pub(super) images_per_second: f64,
    /// Steps of one epoch.
    steps: u64,
    batch: u64,
    /// Device of the run, as in its summary.
    device: String,
    precision: String,
}

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
struct Line {
    kind: String,
    step: Option<u64>,
    train_seconds: Option<f64>,
}

/// Trains a few epochs.
///
/// # Errors
/// A run that fails, or leaves no figures.
pub(super) fn measure(
    programs: &Programs,
    device: &str,
    precision: &str,
    data: &[String],
    clock: &Clock,
) -> Result<Epoch> {
    let folder = root().join(FOLDER);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    let mut command = programs.gnr()();
    command.args(["train", "digits", "--device", device, "--out"]).arg(&folder);
    let keys = [
        format!("train.backend={}", programs.library.backend()),
        format!("train.precision={precision}"),
        format!("train.batch_size={BATCH}"),
        format!("train.epochs={EPOCHS}"),
    ];
    command.args(keys.iter().chain(data).flat_map(|key| ["--set", key]));
    clock.output(command)?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let summary: serde_json::Value = serde_json::from_str(&read("summary.json")?)?;
    let (steps, images_per_second) = speed(&read("metrics.jsonl")?)?;
    let word = |key: &str| summary[key].as_str().unwrap_or("unknown").to_owned();
    let (device, precision) = (word("device"), word("precision"));
    Ok(Epoch { data: data.to_vec(), images_per_second, steps, batch: BATCH, device, precision })
}

/// Steps of an epoch, and images a second.
fn speed(metrics: &str) -> Result<(u64, f64)> {
    let mut before = 0;
    let mut speeds = Vec::new();
    let mut steps = 0;
    for line in metrics.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("metrics.jsonl: {line}"))?;
        let (true, Some(step), Some(seconds)) = (line.kind == "epoch", line.step, line.train_seconds) else {
            continue;
        };
        steps = step - before;
        before = step;
        speeds.push((steps * BATCH) as f64 / seconds);
    }
    if speeds.len() < 2 {
        bail!("metrics.jsonl has {} epochs, expected {EPOCHS}", speeds.len());
    }
    Ok((steps, median(&speeds[1..]).context("epochs without a time")?))
}

impl Epoch {
    /// The data, the steps, and where they were computed, in words.
    pub(super) fn described(&self) -> String {
        let data = if self.data.is_empty() { "the embedded digits".into() } else { self.data.join(", ") };
        let Self { steps, batch, device, precision, .. } = self;
        format!("{data}: {steps} steps of {batch} images on {device} in {precision}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_epoch_warms_up() {
        let line = |step, seconds| {
            format!("{{\"kind\":\"epoch\",\"step\":{step},\"train_seconds\":{seconds},\"seconds\":9}}\n")
        };
        let text = [line(10, 64.0), "{\"kind\":\"step\",\"step\":15}\n".into(), line(20, 2.0), line(30, 4.0)];
        let (steps, images) = speed(&text.concat()).unwrap();
        assert_eq!((steps, images), (10, 240.0));
        assert!(speed(&line(10, 1.0)).unwrap_err().to_string().contains("1 epochs"));
    }
}
