//! The commands `gnr spectrum`, `gnr trace` and `gnr density`.

pub(crate) mod args;

use std::{io::Write, path::PathBuf, process::ExitCode};

use gnr_hessian::Stopping;
use gnr_train::{
    SubjectRequest, Team,
    curvature::{self, CurvatureRequest, DensityRequest, End, SpectrumRequest, TraceRequest},
    is_run,
    measure::Measured,
};
use serde::Serialize;

use crate::{signal, watch::Watch};
use args::{Common, Subject};

const NOTICE: &str = "stopping after this product (again to stop at once)";

/// The request that the arguments of a subject make.
pub(crate) fn subject(arguments: Subject) -> SubjectRequest {
    let keys = [
        ("model.name", &arguments.model),
        ("data.name", &arguments.data),
        ("data.dir", &arguments.data_dir),
        ("data.normalization", &arguments.normalization),
    ];
    // The value is quoted, so that it is not taken for another TOML type.
    let mut overrides: Vec<String> = keys
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={}", serde_json::json!(value))))
        .collect();
    overrides.extend(arguments.device.with(&arguments.sets));
    SubjectRequest {
        weights: arguments.weights,
        overrides,
        split: arguments.split,
        sample: arguments.subset,
        tensors: arguments.tensors,
        batch_size: arguments.batch_size,
        mode: arguments.bn,
        layers: arguments.layers,
        label_smoothing: arguments.label_smoothing,
        keep_records: arguments.keep_records,
        team: Team::default(),
    }
}

/// The default folder: `RUN/COMMAND` for a run folder, `STEM-COMMAND` in the working folder for a weight file.
pub(crate) fn folder(out: Option<PathBuf>, weights: &std::path::Path, command: &str) -> PathBuf {
    out.unwrap_or_else(|| {
        if is_run(weights) {
            return weights.join(command);
        }
        let stem = weights.file_stem().unwrap_or_default().to_string_lossy();
        PathBuf::from(format!("{stem}-{command}"))
    })
}

/// The request, whether to print JSON, and whether to be quiet.
fn common(arguments: Common, command: &str, team: &Team) -> (CurvatureRequest, bool, bool) {
    let out = folder(arguments.out, &arguments.subject.weights, command);
    let request = CurvatureRequest {
        operator: arguments.operator,
        seed: arguments.seed,
        resume: arguments.resume,
        check: !arguments.no_check,
        ..CurvatureRequest::new(SubjectRequest { team: team.clone(), ..subject(arguments.subject) }, out)
    };
    (request, arguments.json, arguments.quiet || !team.leads())
}

pub(crate) fn spectrum(arguments: args::Spectrum, team: &Team) -> anyhow::Result<ExitCode> {
    let (end, count) = match (arguments.top, arguments.bottom, arguments.dominant, arguments.both_ends) {
        (_, Some(count), _, _) => (End::Bottom, count),
        (_, _, Some(count), _) => (End::Dominant, count),
        (_, _, _, Some(count)) => (End::BothEnds, count),
        (top, ..) => (End::Top, top.unwrap_or(5)),
    };
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, json, quiet) = common(arguments.common, "spectrum", team);
    let out = common.out.clone();
    let request = SpectrumRequest {
        end,
        tolerance: arguments.tol,
        method: arguments.method,
        block: arguments.block,
        max_basis: arguments.max_basis,
        max_matvecs: arguments.max_matvecs,
        reorthogonalization: arguments.reorthogonalize,
        verify: arguments.verify,
        save: arguments.save,
        ..SpectrumRequest::new(common, count)
    };
    let mut watch = Watch::products(quiet || json);
    let measured = curvature::spectrum(&request, &mut watch, &stop);
    watch.clear();
    conclude(measured?, team, json, &out, |report| {
        let mut lines = vec![format!(
            "{:>5}  {:8} {:>16} {:>11}  {}",
            "rank", "end", "eigenvalue", "residual", "verdict"
        )];
        lines.extend(report.pairs.iter().map(|pair| {
            format!(
                "{:>5}  {:8} {:>16.8} {:>11.2e}  {}",
                pair.rank + 1,
                pair.end,
                pair.eigenvalue,
                pair.residual,
                pair.verdict
            )
        }));
        lines.push(cost(&report.cost));
        lines
    })
}

pub(crate) fn trace(arguments: args::Trace, team: &Team) -> anyhow::Result<ExitCode> {
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, json, quiet) = common(arguments.common, "trace", team);
    let out = common.out.clone();
    let rule = Stopping {
        tolerance: arguments.tol,
        confidence: arguments.confidence,
        max_samples: arguments.samples,
        ..Stopping::default()
    };
    let request = TraceRequest {
        method: arguments.method,
        gaussian: arguments.gaussian,
        sketch: arguments.sketch,
        rule,
        block: arguments.block,
        ..TraceRequest::new(common)
    };
    let mut watch = Watch::products(quiet || json);
    let measured = curvature::trace(&request, &mut watch, &stop);
    watch.clear();
    conclude(measured?, team, json, &out, |report| {
        let error =
            report.standard_error.map_or_else(String::new, |error| format!(" ± {error:.4} (standard error)"));
        let percent = 100.0 * report.confidence;
        vec![
            format!("trace {:.6}{error}", report.trace),
            format!(
                "{percent:.0} % interval [{:.6}, {:.6}], ended by {}",
                report.low, report.high, report.ended_by
            ),
            cost(&report.cost),
        ]
    })
}

pub(crate) fn density(arguments: args::Density, team: &Team) -> anyhow::Result<ExitCode> {
    let stop = arguments.common.stop.flag(NOTICE)?;
    let (common, json, quiet) = common(arguments.common, "density", team);
    let out = common.out.clone();
    let mut request =
        DensityRequest { sigma: arguments.sigma, points: arguments.points, ..DensityRequest::new(common) };
    request.options.starts = arguments.starts;
    request.options.steps = arguments.steps;
    request.options.at_once = arguments.at_once;
    let mut watch = Watch::products(quiet || json);
    let measured = curvature::density(&request, &mut watch, &stop);
    watch.clear();
    conclude(measured?, team, json, &out, |report| {
        let error = report
            .trace_standard_error
            .map_or_else(String::new, |error| format!(" ± {error:.4} (standard error)"));
        vec![
            format!(
                "nodes from {:.6} to {:.6}, broadened by {:.3e}",
                report.smallest, report.largest, report.sigma
            ),
            format!(
                "trace {:.6}{error}; {:.3} % of the eigenvalues below −σ",
                report.trace,
                100.0 * report.negative_fraction
            ),
            cost(&report.cost),
        ]
    })
}

fn cost(cost: &curvature::Cost) -> String {
    let per = cost.seconds_per_matvec.map_or_else(String::new, |seconds| format!(", {seconds:.3} s each"));
    let peak = cost.peak_rss_mb.map_or_else(String::new, |mb| format!(", peak {mb:.0} MB"));
    format!("{} products{per}, {:.1} s{peak}", cost.num_matvecs, cost.seconds)
}

/// Prints the result, or how to continue.
fn conclude<R: Serialize>(
    measured: Measured<R>,
    team: &Team,
    json: bool,
    out: &std::path::Path,
    table: impl FnOnce(&R) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    match measured {
        Measured::Finished(_) if !team.leads() => {}
        Measured::Finished(report) if json => writeln!(stdout, "{}", serde_json::to_string(&report)?)?,
        Measured::Finished(report) => {
            for line in table(&report) {
                writeln!(stdout, "{line}")?;
            }
            writeln!(stdout, "written to {}", out.display())?;
        }
        Measured::Interrupted { .. } if !team.leads() => return Ok(ExitCode::from(signal::INTERRUPTED)),
        Measured::Interrupted { done, resumable, .. } => {
            let how = if resumable {
                "go on with the same command and --resume"
            } else {
                "this kind of work keeps no state and starts again"
            };
            crate::output::tell(&format!("interrupted after {done} products; {how}"));
            return Ok(ExitCode::from(signal::INTERRUPTED));
        }
    }
    Ok(ExitCode::SUCCESS)
}
