//! `cargo xtask bench`: the time of one step of each method, ours and PyTorch's, alternating on the same machine.
//!
//! Other load makes timings worse by factors, so a single figure means nothing: all sides run in blocks (ours, PyTorch,
//! ours, PyTorch, …), each block gives a median, and the ratio is one of medians over blocks. A block is a process of
//! each side. A process is sometimes slow from beginning to end, which one block cannot show: the table has the spread
//! over blocks. `torch.compile` and JAX, stronger anchors than eager PyTorch, run where the interpreter has them.

mod hessian;
pub(crate) mod measure;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use crate::libtorch::{self, with_libtorch};
use crate::machine::{Machine, cores};
use crate::workspace::{build_gnr, built, output, release_gnr, root};
use measure::{Line, METHODS, Measured, Side, lines, medians};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// A Python with torch, to time PyTorch beside ours.
    #[arg(long, value_name = "PYTHON")]
    pytorch: Option<PathBuf>,
    /// What else to time with that Python: compile (torch.compile, minutes of compiling), jax. Default: both, JAX if it
    /// is installed.
    #[arg(long, value_name = "ANCHORS", value_delimiter = ',', requires = "pytorch")]
    anchors: Option<Vec<Anchor>>,
    /// Timed steps of each method in a block.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
    /// Blocks of each side (a process each); fewer than five may miss that one was slow.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    blocks: u64,
    /// Models: mlp, resnet20_projection, resnet18, wrn28_2, vit_tiny_patch4_32.
    #[arg(
        long,
        value_name = "MODELS",
        value_delimiter = ',',
        default_value = "mlp,resnet20_projection,resnet18,wrn28_2,vit_tiny_patch4_32"
    )]
    models: Vec<String>,
    /// Methods; default: all. See `gnr bench --help`.
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// Images in a batch. Default: each model's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// What computes ours: cpu; burn, which is its CPU backend; or torch, which is built with LibTorch.
    #[arg(long, value_name = "NAME", default_value = "cpu", value_parser = ["cpu", "burn", "torch"])]
    backend: String,
    /// Ours with the channels of a pixel next to each other, which the backend torch can.
    #[arg(long)]
    channels_last: bool,
    /// Threads of each side. Default: all cores.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The `gnr` program. Default: built from this workspace in release.
    #[arg(long, value_name = "PATH")]
    gnr: Option<PathBuf>,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE", default_value = "bench.json")]
    out: PathBuf,
}

/// A side beside ours and eager PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Anchor {
    Compile,
    Jax,
    /// Eager PyTorch alone.
    None,
}

/// Other things to time than a training step.
#[derive(clap::Subcommand)]
enum What {
    /// Eigenvalues, trace and density of ResNet-20's Hessian, beside PyHessian and curvlinops.
    Hessian(hessian::Arguments),
}

/// Models, the batch of each, and further options by which `gnr bench` builds the net of `bench_step.py`.
const MODELS: [(&str, usize, &[&str]); 5] = [
    ("mlp", 128, &[]),
    ("resnet20_projection", 128, &[]),
    ("resnet18", 32, &[]),
    ("wrn28_2", 32, &[]),
    ("vit_tiny_patch4_32", 32, &["--depth", "6"]),
];

/// Number of steps for measuring a method's memory, after one that warms up.
const MEMORY_ROUNDS: u64 = 2;

/// The contents of `bench.json`.
#[derive(Serialize)]
struct Figures<'a> {
    machine: Machine,
    backend: &'a str,
    /// Images in a batch, where it is not each model's own.
    batch: Option<u64>,
    threads: usize,
    rounds: u64,
    blocks: u64,
    pytorch: Option<&'a str>,
    /// Medians and ranges over blocks.
    measured: &'a [Measured],
    /// Every block's line.
    blocks_measured: Vec<Block<'a>>,
    /// Blocks of the processes that show a method's memory.
    memory_measured: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    side: Side,
    #[serde(flatten)]
    line: &'a Line,
}

impl<'a> Block<'a> {
    fn new((side, line): &'a (Side, Line)) -> Self {
        Self { side: *side, line }
    }
}

/// Measures and reports.
///
/// # Errors
/// Unknown models; a side that fails or prints no timing.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(What::Hessian(arguments)) = &arguments.what {
        return hessian::run(arguments);
    }
    let batch_of: BTreeMap<&str, (usize, &[&str])> =
        MODELS.map(|(name, batch, sizes)| (name, (batch, sizes))).into();
    if let Some(unknown) = arguments.models.iter().find(|model| !batch_of.contains_key(model.as_str())) {
        bail!("no benchmark of a model `{unknown}`; there are {}", MODELS.map(|(name, ..)| name).join(", "));
    }
    // Beside PyTorch only the methods of its script are timed; alone, all of `gnr bench`, registered methods included.
    let unknown = arguments.methods.iter().find(|method| !METHODS.contains(&method.as_str()));
    if let Some(unknown) = unknown.filter(|_| arguments.pytorch.is_some()) {
        bail!("no method `{unknown}` beside PyTorch; there are {}", METHODS.join(", "));
    }
    let threads = arguments.threads.unwrap_or_else(cores);
    let pytorch = arguments
        .pytorch
        .as_deref()
        .map(|python| Ok::<_, anyhow::Error>((python, version(python)?)))
        .transpose()?;
    let sides = sides(arguments, pytorch.as_ref().map(|(python, _)| *python));
    let gnr = match &arguments.gnr {
        Some(path) => std::path::absolute(path).with_context(|| format!("--gnr {}", path.display()))?,
        None if arguments.backend == "torch" => {
            libtorch::run()?;
            built(with_libtorch(release_gnr(&["--features", "torch"])))?
        }
        None if arguments.backend == "burn" => built(release_gnr(&["--features", "burn"]))?,
        None => build_gnr()?,
    };

    let mut measured: Vec<(Side, Line)> = Vec::new();
    let mut memory = Vec::new();
    for model in &arguments.models {
        let (batch, sizes) = batch_of[model.as_str()];
        let batch = arguments.batch.map_or_else(|| batch.to_string(), |batch| batch.to_string());
        let thread_count = threads.to_string();
        let process =
            |side: Side, rounds: u64, methods: &[String], layout: &str| -> Result<Vec<(Side, Line)>> {
                let rounds = rounds.to_string();
                let options =
                    ["--model", model, "--batch", &batch, "--rounds", &rounds, "--threads", &thread_count];
                let mut command = match (side, &pytorch) {
                    (Side::Ours, _) => {
                        let mut ours = with_libtorch(Command::new(&gnr));
                        ours.args(["bench", "--backend", &arguments.backend])
                            .args(arguments.channels_last.then_some("--channels-last"))
                            .args(sizes)
                            .args(methods.iter().flat_map(|m| ["--method", m]));
                        ours.env("RAYON_NUM_THREADS", &thread_count);
                        ours
                    }
                    (_, None) => return Ok(Vec::new()),
                    (side, Some((python, _))) => {
                        let mut theirs = Command::new(python);
                        let script = if side == Side::Jax { "bench_step_jax.py" } else { "bench_step.py" };
                        theirs.arg(root().join("xtask/pytorch").join(script));
                        if side != Side::Jax {
                            theirs.args(["--layouts", layout]);
                        }
                        if side == Side::Compiled {
                            theirs.arg("--compile");
                        }
                        if !methods.is_empty() {
                            theirs.arg("--methods").arg(methods.join(","));
                        }
                        theirs
                    }
                };
                command.args(options);
                Ok(lines(&output(command)?)?.into_iter().map(|line| (side, line)).collect())
            };
        for block in 1..=arguments.blocks {
            println!(
                "{model}, batch {batch}: block {block} of {}{}",
                arguments.blocks,
                if block == 1 && sides.contains(&Side::Compiled) {
                    "; torch.compile may compile for minutes"
                } else {
                    ""
                }
            );
            for &side in &sides {
                measured.extend(process(side, arguments.rounds, &arguments.methods, "nchw,channels_last")?);
            }
        }
        println!("{model}, batch {batch}: memory");
        // In a shared process a method would start with the memory that earlier ones left.
        let timed: BTreeSet<(Side, String)> = (measured.iter())
            .filter(|(side, line)| line.model == *model && [Side::Ours, Side::Pytorch].contains(side))
            .map(|(side, line)| (*side, line.method.clone()))
            .collect();
        for (side, method) in timed {
            memory.extend(process(side, MEMORY_ROUNDS, &[method], "nchw")?);
        }
        // Results are written after every model, so that stopping loses the present model at most.
        let figures = medians(&measured, &memory);
        println!("\n{model}, batch {batch}, {threads} threads\n{}", table(&figures, model));
        write(
            arguments,
            threads,
            pytorch.as_ref().map(|(_, version)| version.as_str()),
            &figures,
            [&measured, &memory],
        )?;
    }

    println!(
        "Medians of {} blocks of {} steps, alternating. GFLOP by definition (a Winograd convolution counts as a direct one); peak: the best \
         1024^3 f32 product of all processes. PyTorch (eager, and through torch.compile): the better of NCHW and channels_last, per method. ours / fastest: \
         to the fastest of all others. \
         blocks: the smallest and largest of the ratios block by block, to the same layout; of our medians \
         where PyTorch is not timed. +MB: peak resident memory of three steps in a process of \
         their own over the idle process, the model built (PyTorch: NCHW).",
        arguments.blocks, arguments.rounds
    );
    println!("written: {}", arguments.out.display());
    Ok(())
}

fn write(
    arguments: &Arguments,
    threads: usize,
    pytorch: Option<&str>,
    measured: &[Measured],
    [lines, memory]: [&[(Side, Line)]; 2],
) -> Result<()> {
    let figures = Figures {
        machine: Machine::here(),
        backend: &arguments.backend,
        batch: arguments.batch,
        threads,
        rounds: arguments.rounds,
        blocks: arguments.blocks,
        pytorch,
        measured,
        blocks_measured: lines.iter().map(Block::new).collect(),
        memory_measured: memory.iter().map(Block::new).collect(),
    };
    let path = &arguments.out;
    std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The sides of a block. JAX is left out with a message if the interpreter lacks it, unless it was asked for.
fn sides(arguments: &Arguments, python: Option<&Path>) -> Vec<Side> {
    let mut sides = vec![Side::Ours];
    let Some(python) = python else { return sides };
    sides.push(Side::Pytorch);
    let asked = |anchor| arguments.anchors.as_ref().is_some_and(|anchors| anchors.contains(&anchor));
    if arguments.anchors.is_none() || asked(Anchor::Compile) {
        sides.push(Side::Compiled);
    }
    let has_jax = || {
        let mut probe = Command::new(python);
        probe.args(["-c", "import jax"]);
        let found = output(probe);
        if found.is_err() {
            println!("no JAX in {}: its column stays empty (`pip install jax`)", python.display());
        }
        found.is_ok()
    };
    if asked(Anchor::Jax) || (arguments.anchors.is_none() && has_jax()) {
        sides.push(Side::Jax);
    }
    sides
}

fn version(python: &Path) -> Result<String> {
    let mut command = Command::new(python);
    command.args(["-c", "import torch; print(torch.__version__)"]);
    Ok(output(command).context("--pytorch needs a Python that can import torch")?.trim().to_string())
}

fn table(measured: &[Measured], model: &str) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "method",
        "ours, ms",
        "/ SGD",
        "GFLOP/s",
        "of peak",
        "PyTorch, ms",
        "layout",
        "ours / PyTorch",
        "blocks",
        "compile, ms",
        "JAX, ms",
        "ours / fastest",
        "+MB",
        "PyTorch +MB",
    ]);
    let shown = |value: Option<f64>, digits: usize| value.map_or("–".into(), |x| format!("{x:.digits$}"));
    let others = measured.iter().map(|row| row.method.as_str()).filter(|name| !METHODS.contains(name));
    for method in METHODS.into_iter().chain(others.collect::<BTreeSet<_>>()) {
        let Some(row) = measured.iter().find(|row| row.model == model && row.method == method) else {
            continue;
        };
        table.add_row([
            method.to_string(),
            shown(row.ours_ms, 2),
            shown(row.to_sgd, 2),
            shown(row.gflops, 0),
            row.of_peak.map_or("–".into(), |share| format!("{:.0} %", 100.0 * share)),
            shown(row.pytorch_ms, 2),
            row.pytorch_layout.clone().unwrap_or_else(|| "–".into()),
            shown(row.ratio, 2),
            row.blocks(),
            shown(row.compiled_ms, 2),
            shown(row.jax_ms, 2),
            shown(row.ratio_to_fastest, 2),
            shown(row.ours_growth_mb, 0),
            shown(row.pytorch_growth_mb, 0),
        ]);
    }
    table.to_string()
}
