//! Time and memory of steps, ours and PyTorch's, each in a process of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{clock::Clock, memory::Sampler, nets::Net, program::Library};
use crate::bench::measure::{Line, lines};
use crate::workspace::root;

/// The methods that are timed. `hvp` is an exact product with its gradient, from scratch.
pub(super) const METHODS: [&str; 5] = ["gradient", "hvp", "sam", "gnr_exact", "gnr_fd"];
/// The methods whose memory is measured. Each has a process of its own, because memory of others would be counted.
pub(super) const WEIGHED: [&str; 2] = ["gradient", "gnr_exact"];

/// The library that computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    /// `gnr bench` with the library's backend.
    Ours,
    /// PyTorch as it comes; products through the graph of the gradient.
    Eager,
    /// `torch.func`: products are the `jvp` of `grad`.
    Func,
    /// `torch.compile` of the model, and of the `jvp` of `grad`.
    Compiled,
}

impl Side {
    /// Name of the side in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Ours => "gnr",
            Self::Eager => "PyTorch",
            Self::Func => "torch.func",
            Self::Compiled => "torch.compile",
        }
    }
    /// Name of the side in `bench_step.py`; `None` for ours.
    fn variant(self) -> Option<&'static str> {
        match self {
            Self::Ours => None,
            Self::Eager => Some("eager"),
            Self::Func => Some("func"),
            Self::Compiled => Some("compile"),
        }
    }
}

/// A block's time of a method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Timing {
    pub(super) side: Side,
    pub(super) model: String,
    pub(super) method: String,
    /// `nchw` or `channels_last`; our side only states the latter.
    pub(super) layout: Option<String>,
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) rounds: u64,
}

/// Peak memory of a method's steps over the idle process; on a card, over the idle card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Weight {
    pub(super) side: Side,
    pub(super) model: String,
    pub(super) method: String,
    pub(super) mb: f64,
}

/// The settings of measuring steps.
pub(super) struct Setting<'a, F: Fn() -> Command> {
    pub(super) gnr: F,
    /// The Python with PyTorch, where that is timed, too.
    pub(super) python: Option<&'a Path>,
    pub(super) library: Library,
    pub(super) device: &'a str,
    pub(super) precision: &'a str,
    /// Timed steps of a block, after one that warms up.
    pub(super) rounds: u64,
    /// Processes of ours and of eager PyTorch, in turn.
    pub(super) blocks: u64,
    pub(super) threads: usize,
}

impl<F: Fn() -> Command> Setting<'_, F> {
    /// Times all methods of a net.
    ///
    /// # Errors
    /// A program that fails, prints no timing, or is ended by the clock.
    pub(super) fn time(&self, net: &Net, side: Side, clock: &Clock) -> Result<Vec<Timing>> {
        // The layout of images matters to convolutions alone.
        let layouts = match side {
            Side::Eager if net.is_convolutional() => "nchw,channels_last",
            _ => "nchw",
        };
        let methods = METHODS.join(",");
        let mut commands = vec![self.command(net, side, &methods, self.rounds, layouts)?];
        if side == Side::Ours && net.is_convolutional() && self.library == Library::Torch {
            // A process of ours computes in one layout only.
            commands.push(self.command(net, side, &methods, self.rounds, layouts)?);
            commands[1].arg("--channels-last");
        }
        let mut timings = Vec::new();
        for command in commands {
            timings.extend(lines(&clock.output(command)?)?.into_iter().map(|line| timing(side, line)));
        }
        Ok(timings)
    }

    /// Measures the peak memory of a method.
    ///
    /// # Errors
    /// As [`time`](Self::time); no driver that counts a card's memory; a system that does not tell a process's.
    pub(super) fn weigh(&self, net: &Net, side: Side, method: &str, clock: &Clock) -> Result<Weight> {
        let command = self.command(net, side, method, 2, "nchw")?;
        let mb = if self.device == "cpu" {
            let line = lines(&clock.output(command)?)?.swap_remove(0);
            let told = line.peak_rss_mb.zip(line.idle_rss_mb);
            told.map(|(peak, idle)| peak - idle).context("this system does not tell a process's memory")?
        } else {
            let sampler = Sampler::of_card(self.device)?;
            let said = clock.output(command);
            let mb = sampler.finish();
            said?;
            mb
        };
        Ok(Weight { side, model: net.model.into(), method: method.into(), mb })
    }

    fn command(&self, net: &Net, side: Side, methods: &str, rounds: u64, layouts: &str) -> Result<Command> {
        let mut command = match side.variant() {
            None => {
                let mut ours = (self.gnr)();
                ours.args(["bench", "--backend", self.library.backend()]);
                ours
            }
            Some(variant) => {
                let mut theirs = Command::new(self.python.context("no Python to time PyTorch with")?);
                theirs.arg(root().join("xtask/pytorch/bench_step.py"));
                theirs.args(["--variant", variant, "--layouts", layouts, "--fused"]);
                theirs
            }
        };
        command.args(net.options()).args(["--methods", methods, "--device", self.device]);
        command.args(["--precision", self.precision, "--rounds", &rounds.to_string()]);
        command.args(["--threads", &self.threads.to_string()]);
        Ok(command)
    }
}

fn timing(side: Side, line: Line) -> Timing {
    let Line { model, method, layout, median_ms, min_ms, rounds, .. } = line;
    Timing { side, model, method, layout, median_ms, min_ms, rounds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_check::nets::SMALL;

    #[test]
    fn both_sides_are_told_the_same() {
        let setting = Setting {
            gnr: || Command::new("gnr"),
            python: Some(Path::new("python3")),
            library: Library::Torch,
            device: "cuda:1",
            precision: "tf32",
            rounds: 3,
            blocks: 1,
            threads: 2,
        };
        let words = |side| {
            let command = setting.command(&SMALL[2], side, "hvp", 3, "nchw").unwrap();
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let shared = "--model vit_small_patch16_224 --batch 2 --classes 10 --input 3,224,224 --depth 2 --methods hvp --device cuda:1 \
                      --precision tf32 --rounds 3 --threads 2";
        assert_eq!(words(Side::Ours), format!("bench --backend torch {shared}"));
        let eager = words(Side::Eager);
        assert!(eager.ends_with(&format!("--variant eager --layouts nchw --fused {shared}")), "{eager}");
    }
}
