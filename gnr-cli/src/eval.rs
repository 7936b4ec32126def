//! The command `gnr eval`: evaluates a checkpoint or published weights.

use std::{io::Write, process::ExitCode};

use gnr_train::{EvalRequest, Team};

use crate::args;

pub(crate) fn eval(arguments: args::Eval, team: &Team) -> anyhow::Result<ExitCode> {
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
    // Parsing cannot fail: a text that names no map is a file.
    let class_map = arguments.class_map.as_deref().and_then(|map| map.parse().ok());
    let request = EvalRequest { weights: arguments.weights, overrides, split: arguments.split, class_map };
    let report = gnr_train::eval_in(team, &request, |_, _| {})?;
    if !team.leads() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = &report.evaluation;
    writeln!(out, "{} ({}) on {}", report.weights, report.model, report.data)?;
    for line in report.loaded.lines() {
        writeln!(out, "  {line}")?;
    }
    writeln!(
        out,
        "accuracy {:.2} % ({} of {}), loss {:.4}",
        100.0 * found.accuracy,
        found.correct,
        found.images,
        found.loss
    )?;
    if let Some(top5) = found.top5_accuracy {
        writeln!(out, "top-5 accuracy {:.2} %", 100.0 * top5)?;
    }
    if let Some(among) = found.accuracy_among_classes {
        writeln!(
            out,
            "accuracy among the {} classes of the data {:.2} %",
            found.classes.len(),
            100.0 * among
        )?;
    }
    if arguments.per_class {
        for class in &found.classes {
            let percent = 100.0 * class.correct as f64 / (class.images as f64).max(1.0);
            writeln!(out, "  {:20} {percent:6.2} % ({} of {})", class.name, class.correct, class.images)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
