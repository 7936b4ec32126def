//! `cargo xtask bench hessian`: eigenvalues, trace and density of ResNet-20's Hessian, beside PyHessian and curvlinops
//! with SciPy.
//!
//! One batch of 256, so that a product needs no new forward pass on any side but curvlinops'. Times are without set-up.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};

use crate::machine::{Machine, cores};
use crate::workspace::{build_gnr, output, root};

/// Options of `cargo xtask bench hessian`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A Python with torch, pyhessian, curvlinops-for-pytorch, scipy and safetensors, to time these beside ours.
    #[arg(long, value_name = "PYTHON")]
    pytorch: Option<PathBuf>,
    /// Weights of a CIFAR ResNet-20 with projections, images `x` and labels `y`. Default:
    /// bench/resnet20_hessian_problem_b.safetensors in the folder `shared` beside the repository, or where GNR_SHARED
    /// points.
    #[arg(long, value_name = "FILE")]
    problem: Option<PathBuf>,
    /// Tasks: top5, trace, density, top50.
    #[arg(long, value_name = "TASKS", value_delimiter = ',', default_value = "top5,trace,density,top50")]
    tasks: Vec<String>,
    /// Tools to compare with: pyhessian, curvlinops.
    #[arg(long, value_name = "TOOLS", default_value = "pyhessian,curvlinops")]
    tools: String,
    /// Samples of the trace.
    #[arg(long, value_name = "N", default_value_t = 100)]
    samples: usize,
    /// Lanczos steps of the density.
    #[arg(long, value_name = "N", default_value_t = 100)]
    steps: usize,
    /// Threads of each side. Default: all cores.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The `gnr` program. Default: built from this workspace in release.
    #[arg(long, value_name = "PATH")]
    gnr: Option<PathBuf>,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE", default_value = "bench_hessian.json")]
    out: PathBuf,
}

/// One task of one tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    tool: String,
    task: String,
    seconds: f64,
    num_matvecs: usize,
    #[serde(default)]
    peak_rss_mb: Option<f64>,
    #[serde(default)]
    eigenvalues: Vec<f64>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    standard_error: Option<f64>,
}

#[derive(Serialize)]
struct Figures<'a> {
    machine: Machine,
    threads: usize,
    problem: String,
    lines: &'a [Line],
}

const TASKS: [&str; 4] = ["top5", "trace", "density", "top50"];

/// Measures and reports.
///
/// # Errors
/// Unknown tasks; a problem that is not there; a side that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.tasks.iter().find(|task| !TASKS.contains(&task.as_str())) {
        bail!("no task `{unknown}`; there are {}", TASKS.join(", "));
    }
    let problem = arguments.problem.clone().unwrap_or_else(|| {
        let shared = std::env::var_os("GNR_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
        shared.join("bench/resnet20_hessian_problem_b.safetensors")
    });
    if !problem.is_file() {
        bail!("{}: no such file; --problem says where the weights, images and labels are", problem.display());
    }
    let threads = arguments.threads.unwrap_or_else(cores);
    let gnr = match &arguments.gnr {
        Some(path) => std::path::absolute(path).with_context(|| format!("--gnr {}", path.display()))?,
        None => build_gnr()?,
    };
    let mut lines = Vec::new();
    // Tools take turns in each task, so that a change of load affects all of them.
    for task in TASKS.iter().filter(|task| arguments.tasks.iter().any(|asked| asked == *task)) {
        let line = ours(arguments, &gnr, &problem, task, threads)?;
        println!("{}", described(&line));
        lines.push(line);
        write(arguments, &problem, threads, &lines)?;
        if let Some(python) = &arguments.pytorch {
            for line in theirs(arguments, python, &problem, task, threads)? {
                println!("{}", described(&line));
                lines.push(line);
            }
            write(arguments, &problem, threads, &lines)?;
        }
    }
    println!("\n{}", table(&lines));
    println!("written: {}", arguments.out.display());
    Ok(())
}

/// Writes the figures so far, so that a tool that fails later loses no results of the others.
fn write(arguments: &Arguments, problem: &Path, threads: usize, lines: &[Line]) -> Result<()> {
    let problem = problem.display().to_string();
    let figures = Figures { machine: Machine::here(), threads, problem, lines };
    std::fs::write(&arguments.out, serde_json::to_string_pretty(&figures)? + "\n")
        .with_context(|| format!("cannot write {}", arguments.out.display()))
}

fn ours(arguments: &Arguments, gnr: &Path, problem: &Path, task: &str, threads: usize) -> Result<Line> {
    #[derive(Deserialize)]
    struct Report {
        cost: Cost,
        #[serde(default)]
        pairs: Vec<Pair>,
        trace: Option<f64>,
        standard_error: Option<f64>,
        largest: Option<f64>,
    }
    #[derive(Deserialize)]
    struct Cost {
        num_matvecs: usize,
        seconds: f64,
        peak_rss_mb: Option<f64>,
    }
    #[derive(Deserialize)]
    struct Pair {
        eigenvalue: f64,
    }
    // The folder is removed first, because an earlier result would not be overwritten.
    let out = root().join("target/bench-hessian").join(task);
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| format!("cannot clear {}", out.display()))?;
    }
    let mut command = Command::new(gnr);
    let (samples, steps) = (arguments.samples.to_string(), arguments.steps.to_string());
    match task {
        "top5" => command.args(["spectrum", "--top", "5", "--tol", "1e-3"]),
        "top50" => command.args(["spectrum", "--top", "50", "--tol", "1e-3"]),
        "trace" => command.args(["trace", "--samples", &samples]),
        _ => command.args(["density", "--starts", "1", "--steps", &steps]),
    };
    command.arg(problem).args(["--model", "resnet20_projection", "--json", "--no-check"]);
    command.arg("--tensors").arg(problem).arg("--out").arg(&out);
    command.arg("--set").arg(format!("train.threads={threads}"));
    let report: Report =
        serde_json::from_str(output(command)?.trim()).context("gnr printed no report of its own")?;
    let eigenvalues = match report.largest {
        Some(largest) => vec![largest],
        None => report.pairs.iter().map(|pair| pair.eigenvalue).collect(),
    };
    Ok(Line {
        tool: "ours".into(),
        task: task.into(),
        seconds: report.cost.seconds,
        num_matvecs: report.cost.num_matvecs,
        peak_rss_mb: report.cost.peak_rss_mb,
        eigenvalues,
        value: report.trace,
        standard_error: report.standard_error,
    })
}

fn theirs(
    arguments: &Arguments,
    python: &Path,
    problem: &Path,
    task: &str,
    threads: usize,
) -> Result<Vec<Line>> {
    let mut command = Command::new(python);
    command.arg(root().join("xtask/pytorch/bench_hessian.py")).arg("--problem").arg(problem);
    command.args(["--threads", &threads.to_string(), "--tasks", task, "--tools", &arguments.tools]);
    command.args(["--samples", &arguments.samples.to_string(), "--steps", &arguments.steps.to_string()]);
    let text = output(command).context(
        "--pytorch needs a Python with torch, pyhessian, curvlinops-for-pytorch, scipy and safetensors",
    )?;
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a figure: {line}")))
        .collect()
}

fn described(line: &Line) -> String {
    let Line { tool, task, seconds, num_matvecs, .. } = line;
    format!("{task} by {tool}: {seconds:.1} s, {num_matvecs} products")
}

/// A row a task and tool, with the ratio of our time to its.
fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "task",
        "tool",
        "s",
        "products",
        "s a product",
        "ours / it",
        "a product, ours / its",
        "MB",
        "result",
    ]);
    for line in lines {
        let each = line.seconds / line.num_matvecs.max(1) as f64;
        let mine = lines.iter().find(|mine| mine.tool == "ours" && mine.task == line.task);
        let ratio = |f: &dyn Fn(&Line) -> f64| match mine {
            Some(mine) if line.tool != "ours" => format!("{:.2}", f(mine) / f(line)),
            _ => "–".into(),
        };
        let result = match (line.value, line.standard_error) {
            (Some(value), Some(error)) => format!("{value:.0} ± {error:.0}"),
            (Some(value), None) => format!("{value:.0}"),
            _ => line.eigenvalues.iter().take(5).map(|x| format!("{x:.2}")).collect::<Vec<_>>().join(" "),
        };
        table.add_row([
            line.task.clone(),
            line.tool.clone(),
            format!("{:.1}", line.seconds),
            line.num_matvecs.to_string(),
            format!("{each:.3}"),
            ratio(&|line| line.seconds),
            ratio(&|line| line.seconds / line.num_matvecs.max(1) as f64),
            line.peak_rss_mb.map_or("–".into(), |mb| format!("{mb:.0}")),
            result,
        ]);
    }
    table.to_string()
}
