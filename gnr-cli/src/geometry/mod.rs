//! The commands `gnr landscape`, `gnr minima`, `gnr sharpness` and `gnr plot`.

pub(crate) mod args;
mod figures;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use gnr_plot::Figure;
use gnr_study::{report::write_figure, reproduce::worked_example};
use gnr_train::{
    geometry::{
        self, Axes, GeometryRequest, LandscapeRequest, MinimaRequest, SharpnessRequest, SmallTensors,
    },
    measure::Measured,
};
use serde::Serialize;

use crate::{curvature, signal, watch::Watch};
use args::{Common, Example};

const NOTICE: &str = "stopping after this point (again to stop at once)";

struct Output {
    out: PathBuf,
    json: bool,
    plot: bool,
}

fn common(arguments: Common, command: &str) -> (GeometryRequest, Watch, Output) {
    let out = curvature::folder(arguments.out, &arguments.subject.weights, command);
    let output = Output { out: out.clone(), json: arguments.json, plot: !arguments.no_plot };
    let request = GeometryRequest { subject: curvature::subject(arguments.subject), out };
    (request, Watch::points(arguments.quiet || arguments.json), output)
}

pub(crate) fn landscape(arguments: args::Landscape) -> anyhow::Result<ExitCode> {
    let small = if arguments.move_small { SmallTensors::Scaled } else { SmallTensors::Fixed };
    let axes = if !arguments.to.is_empty() {
        Axes::Checkpoints { to: arguments.to }
    } else if let Some(file) = arguments.eigenvectors {
        let ranks = arguments.ranks.iter().map(|rank| rank - 1).collect();
        Axes::Eigenvectors { file, ranks }
    } else if arguments.trajectory {
        Axes::Trajectory
    } else {
        let count = usize::from(arguments.random.unwrap_or(2));
        let (seed, scaling) = (arguments.common.seed, arguments.scaling);
        Axes::Random { count, seed, scaling, small }
    };
    let line = match &axes {
        Axes::Random { count, .. } => *count == 1,
        Axes::Checkpoints { to } => to.len() == 1,
        Axes::Eigenvectors { ranks, .. } => ranks.len() == 1,
        Axes::Trajectory => false,
    };
    let points = match &arguments.points[..] {
        [] if line => vec![51],
        [] => vec![25],
        given => given.to_vec(),
    };
    let ranges = arguments.range.into_iter().map(|range| Some(range.0)).collect();
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, mut watch, output) = common(arguments.common, "landscape");
    let request = LandscapeRequest { common, axes, ranges, points };
    let surveyed = geometry::landscape(&request, &mut watch, &stop);
    watch.clear();
    conclude(
        surveyed?,
        &output,
        "landscape",
        |report| Some(figures::landscape(report)),
        |report| {
            let finite = || report.losses.iter().flatten().copied().flatten();
            let (low, high) =
                (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
            let points = report.xs.len() * report.ys.len().max(1);
            let mut lines = vec![format!("{points} points, loss from {low:.6} to {high:.6}")];
            lines.extend(report.labels.iter().map(|label| format!("  along {label}")));
            lines
        },
    )
}

pub(crate) fn minima(arguments: args::Minima) -> anyhow::Result<ExitCode> {
    let seed = arguments.common.seed;
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, mut watch, output) = common(arguments.common, "minima");
    let request = MinimaRequest {
        directions: arguments.directions,
        seed,
        radius: arguments.radius,
        steps: arguments.steps,
        refine: arguments.refine,
        scaling: arguments.scaling,
        resolutions: arguments.resolution,
        ..MinimaRequest::new(common)
    };
    let surveyed = geometry::minima(&request, &mut watch, &stop);
    watch.clear();
    conclude(
        surveyed?,
        &output,
        "minima",
        |report| Some(figures::minima(report)),
        |report| {
            let header =
                format!("{:>10} {:>11} {:>12} {:>12}", "step", "resolution", "mean minima", "mean maxima");
            let rows = report.counted.iter().map(|counted| {
                format!(
                    "{:>10} {:>11} {:>12.3} {:>12.3}",
                    format!("{:.3e}", counted.step),
                    format!("{:e}", counted.resolution),
                    counted.mean_minima,
                    counted.mean_maxima
                )
            });
            std::iter::once(header).chain(rows).collect()
        },
    )
}

pub(crate) fn sharpness(arguments: args::Sharpness) -> anyhow::Result<ExitCode> {
    let seed = arguments.common.seed;
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, mut watch, output) = common(arguments.common, "sharpness");
    let request = SharpnessRequest {
        rhos: arguments.rho,
        steps: arguments.steps,
        starts: arguments.starts,
        seed,
        ..SharpnessRequest::new(common)
    };
    let surveyed = geometry::sharpness(&request, &mut watch, &stop);
    watch.clear();
    conclude(surveyed?, &output, "sharpness", figures::sharpness, |report| {
        let columns =
            ["measure", "rho", "search", "lower bound", "/rho^2", "distance", "gradients", "products"];
        let [a, b, c, d, e, f, g, h] = columns;
        let header = format!("{a:8} {b:>7} {c:12} {d:>14} {e:>12} {f:>9} {g:>9} {h:>9}");
        let rows = report.bounds.iter().map(|bound| {
            format!(
                "{:8} {:>7} {:12} {:>14} {:>12.4} {:>9.4} {:>9} {:>9}",
                bound.measure,
                bound.rho,
                bound.search,
                format!("≥ {:.6}", bound.lower_bound),
                bound.lower_bound / (bound.rho * bound.rho),
                bound.distance,
                bound.evaluations,
                bound.products
            )
        });
        std::iter::once(header).chain(rows).collect()
    })
}

pub(crate) fn plot(arguments: args::Plot) -> anyhow::Result<ExitCode> {
    let mut said = Vec::new();
    let (figure, prefix) = match (arguments.figure, arguments.example) {
        (Some(path), _) => {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let figure: Figure =
                serde_json::from_str(&text).with_context(|| format!("{} is not a figure", path.display()))?;
            let prefix = arguments.out.unwrap_or_else(|| stem(&path));
            (figure, prefix)
        }
        (None, Some(Example::Figure1a)) => {
            let (figure, words) = worked_example()?;
            said.extend(words);
            (figure, arguments.out.unwrap_or_else(|| "figure1a".into()))
        }
        (None, None) => anyhow::bail!("nothing to draw: give a figure or --example"),
    };
    if let Some(parent) = prefix.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let files = write_figure(&figure, &prefix, true)?;
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    if !arguments.quiet {
        said.push(format!("written: {}", files.join(", ")));
        let mut stdout = std::io::stdout();
        for line in said {
            writeln!(stdout, "{line}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The path without its ending: `a/b` for `a/b.figure.json` and `a/b.json`.
fn stem(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short = [".figure.json", ".json"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    path.with_file_name(short)
}

/// Prints and draws the result, or prints how to continue.
fn conclude<R: Serialize>(
    measured: Measured<R>,
    output: &Output,
    name: &str,
    figure: impl FnOnce(&R) -> Option<Figure>,
    table: impl FnOnce(&R) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let report = match measured {
        Measured::Finished(report) => report,
        Measured::Interrupted { done, total, .. } => {
            crate::output::tell(&format!(
                "interrupted after {done} of {total} points; the same command goes on"
            ));
            return Ok(ExitCode::from(signal::INTERRUPTED));
        }
    };
    if output.plot
        && let Some(figure) = figure(&report)
    {
        write_figure(&figure, &output.out.join(name), false)?;
    }
    let mut stdout = std::io::stdout();
    if output.json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in table(&report) {
        writeln!(stdout, "{line}")?;
    }
    writeln!(stdout, "written to {}", output.out.display())?;
    Ok(ExitCode::SUCCESS)
}
