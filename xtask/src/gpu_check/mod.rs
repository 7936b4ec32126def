//! `cargo xtask gpu-check`: everything that only a card can show, as one command for the day a card is at hand.
//!
//! CUDA cards are LibTorch's, with PyTorch beside; Vulkan devices are burn's, with nothing beside.
//!
//! The most telling stages come first. A stage that fails is reported, and the others go on. Stages that remain when
//! the time is over are reported as not run. The stages also run on LibTorch's CPU (`--device cpu --small`) and on
//! Mesa's software Vulkan (`--device vulkan --small`), so that no part of the command is first run on a card.

mod clock;
mod epoch;
mod memory;
mod nets;
mod program;
mod report;
mod steps;
mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::machine::{Machine, cores};
use clock::Clock;
use epoch::Epoch;
use nets::Net;
use program::{Library, Programs};
use steps::{Side, Timing, Weight};
use targets::Target;

/// Options of `cargo xtask gpu-check`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to compute: cuda (the first card), cuda:N, or cpu for a rehearsal without a card; with burn instead of
    /// LibTorch: vulkan (the first device), vulkan:N.
    #[arg(long, value_name = "DEVICE", default_value = "cuda", value_parser = device)]
    device: String,
    /// A Python with torch that computes on that device, to time beside ours. Not for Vulkan, where PyTorch has
    /// nothing.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Small batches and images, few rounds: for a rehearsal on a CPU.
    #[arg(long)]
    small: bool,
    /// Precision of ours and of PyTorch's steps: f32, tf32 (CUDA cards only), bf16 (not for Vulkan).
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = ["f32", "tf32", "bf16"])]
    precision: String,
    /// Data for the epoch: assignments of recipe keys, as in data.name=cifar10,data.dir=FOLDER. Default: the embedded
    /// digits.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    data: Vec<String>,
    /// Minutes that the stages may take together, building not counted. Default: 10, with --device cpu no limit.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// The `gnr` program, with the library that computes on that device. Default: built from this workspace in release.
    #[arg(long, value_name = "PATH")]
    gnr: Option<PathBuf>,
    /// Folder of the report.
    #[arg(long, value_name = "FOLDER", default_value = "gpu-check")]
    out: PathBuf,
}

/// `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`.
fn device(name: &str) -> Result<String, String> {
    let numbered = |kind: &str| name.strip_prefix(kind).is_some_and(|index| index.parse::<usize>().is_ok());
    if ["cpu", "cuda", "vulkan"].contains(&name) || numbered("cuda:") || numbered("vulkan:") {
        Ok(name.into())
    } else {
        Err("expected cpu, cuda, cuda:N, vulkan or vulkan:N".into())
    }
}

/// The outcome of a stage.
#[derive(Clone, Debug, Serialize)]
struct Stage {
    name: String,
    passed: bool,
    seconds: f64,
    /// The full error of a stage that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// All results, in the form of the JSON file.
#[derive(Clone, Serialize)]
struct Report {
    machine: Machine,
    device: String,
    precision: String,
    small: bool,
    /// The version of PyTorch; `None` where nothing was timed beside ours.
    pytorch: Option<String>,
    /// The output of `gnr devices --json`.
    devices: Option<serde_json::Value>,
    nets: Vec<Net>,
    stages: Vec<Stage>,
    timings: Vec<Timing>,
    weights: Vec<Weight>,
    targets: Vec<Target>,
    epoch: Option<Epoch>,
}

/// Runs the stages in turn and keeps their outcomes.
struct Runner {
    clock: Clock,
    stages: Vec<Stage>,
}

impl Runner {
    /// Runs a stage and returns its result; `None` if it fails.
    fn stage<T>(&mut self, name: impl Into<String>, run: impl FnOnce(&Clock) -> Result<T>) -> Option<T> {
        let (name, started) = (name.into(), Instant::now());
        println!("== {name}");
        let outcome = if self.clock.is_over() { Err(clock::Over.into()) } else { run(&self.clock) };
        let seconds = started.elapsed().as_secs_f64();
        let (value, error) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        match &error {
            None => println!("== {name}: passed in {seconds:.1} s"),
            Some(error) => println!("== {name}: FAILED after {seconds:.1} s: {}", report::first_line(error)),
        }
        self.stages.push(Stage { name, passed: error.is_none(), seconds, error });
        value
    }
}

/// Builds the programs, runs the stages, writes the report.
///
/// # Errors
/// Nothing to start with: a program that does not build, a Python without torch, a folder that cannot be written; and
/// at the end, when a stage failed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let library = Library::of(&arguments.device);
    let python = match (library, &arguments.python) {
        (Library::Torch, Some(python)) => Some(python.as_path()),
        (Library::Torch, None) => {
            bail!("--python is needed on {}: a Python whose torch computes there", arguments.device)
        }
        (Library::Burn, None) => None,
        (Library::Burn, Some(_)) => bail!("--python: PyTorch does not compute through Vulkan; leave it out"),
    };
    if library == Library::Burn && arguments.precision != "f32" {
        bail!("--precision {}: burn computes in f32 through Vulkan", arguments.precision);
    }
    let pytorch = python.map(|python| program::pytorch(python, &arguments.device)).transpose()?;
    let programs = Programs::build(library, &arguments.device, arguments.gnr.as_deref())?;
    let limit = match arguments.minutes {
        Some(minutes) if !(minutes > 0.0 && minutes.is_finite()) => {
            bail!("--minutes {minutes}: expected a positive number")
        }
        Some(minutes) => Some(Duration::from_secs_f64(60.0 * minutes)),
        None if arguments.device == "cpu" => None,
        None => Some(Duration::from_secs(600)),
    };
    let mut runner = Runner { clock: Clock::new(limit), stages: Vec::new() };
    let report = examine(arguments, &programs, python.zip(pytorch), &mut runner);
    report::write(&arguments.out, &report)?;
    println!("written: {}", report::paths(&arguments.out).map(|path| path.display().to_string()).join(", "));
    let failed: Vec<&str> =
        report.stages.iter().filter(|stage| !stage.passed).map(|stage| &*stage.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

/// Runs the stages. `pytorch` is a Python and its PyTorch's version.
fn examine(
    arguments: &Arguments,
    programs: &Programs,
    pytorch: Option<(&Path, String)>,
    runner: &mut Runner,
) -> Report {
    let device = arguments.device.as_str();
    let devices = runner.stage("gnr devices", |clock| program::devices(programs, device, clock));
    for (name, filters) in programs.library.tests(arguments.small) {
        runner.stage(name, |clock| program::test(programs, device, filters, clock));
    }
    let nets = if arguments.small { nets::SMALL } else { nets::FULL };
    let setting = steps::Setting {
        gnr: programs.gnr(),
        python: pytorch.as_ref().map(|(python, _)| *python),
        library: programs.library,
        device,
        precision: &arguments.precision,
        rounds: match (arguments.small, programs.library) {
            (false, _) => 5,
            (true, Library::Torch) => 3,
            // A software driver takes minutes for one round.
            (true, Library::Burn) => 1,
        },
        blocks: if arguments.small { 1 } else { 2 },
        threads: cores(),
    };
    let (sides, last): (&[Side], &[Side]) = match pytorch {
        Some(_) => (&[Side::Ours, Side::Eager], &[Side::Func, Side::Compiled]),
        None => (&[Side::Ours], &[]),
    };
    let (mut timings, mut weights) = (Vec::new(), Vec::new());
    for net in &nets {
        for block in 1..=setting.blocks {
            for &side in sides {
                let name = format!("{}: {} (block {block} of {})", net.model, side.title(), setting.blocks);
                let timed = runner.stage(name, |clock| setting.time(net, side, clock));
                timings.extend(timed.into_iter().flatten());
            }
        }
        // No program tells the memory that another one holds of a Vulkan device.
        for &side in sides.iter().filter(|_| programs.library == Library::Torch) {
            for method in steps::WEIGHED {
                let name = format!("{}: memory of {method}, {}", net.model, side.title());
                let weighed = runner.stage(name, |clock| setting.weigh(net, side, method, clock));
                weights.extend(weighed);
            }
        }
    }
    let epoch = runner.stage("an epoch with the loader", |clock| {
        epoch::measure(programs, device, &arguments.precision, &arguments.data, clock)
    });
    // Sides that compile for minutes come last, because the time may be over then.
    for &side in last {
        for net in nets.iter().filter(|net| side != Side::Compiled || net.compiled) {
            let timed = runner
                .stage(format!("{}: {}", net.model, side.title()), |clock| setting.time(net, side, clock));
            timings.extend(timed.into_iter().flatten());
        }
    }
    // The targets are promises about LibTorch beside PyTorch.
    let targets = pytorch.iter().flat_map(|_| targets::judge(&nets, &timings, &weights)).collect();
    Report {
        machine: Machine::here(),
        device: device.into(),
        precision: arguments.precision.clone(),
        small: arguments.small,
        pytorch: pytorch.map(|(_, version)| version),
        devices,
        targets,
        nets: nets.to_vec(),
        stages: std::mem::take(&mut runner.stages),
        timings,
        weights,
        epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_fails_is_kept_and_the_next_one_runs() {
        let mut runner = Runner { clock: Clock::new(None), stages: Vec::new() };
        let none: Option<()> = runner.stage("first", |_| bail!("no card\nand more"));
        assert_eq!((none, runner.stage("second", |_| Ok(3))), (None, Some(3)));
        let passed: Vec<bool> = runner.stages.iter().map(|stage| stage.passed).collect();
        assert_eq!(passed, [false, true]);
        assert_eq!(runner.stages[0].error.as_deref(), Some("no card\nand more"));
    }

    #[test]
    fn what_the_time_does_not_reach_is_reported_as_failed() {
        let mut runner = Runner { clock: Clock::new(Some(Duration::ZERO)), stages: Vec::new() };
        assert_eq!(runner.stage("late", |_| Ok(1)), None);
        assert!(runner.stages[0].error.as_deref().is_some_and(|error| error.contains("--minutes")));
    }

    #[test]
    fn devices_by_name() {
        for name in ["cpu", "cuda", "cuda:3", "vulkan", "vulkan:1"] {
            assert_eq!(device(name).as_deref(), Ok(name));
        }
        assert!(["cuda:x", "vulkan:", "gpu"].iter().all(|name| device(name).is_err()));
    }
}
