//! The command `gnr bench`: the time of one step of each method, one JSON line each.

use std::{io::Write, process::ExitCode};

use anyhow::{Context as _, anyhow};
use gnr_models::ModelConfig;
use gnr_train::{BenchRequest, Recipe, Timed, bench as measure};

use crate::args;

pub(crate) fn bench(arguments: &args::Bench) -> anyhow::Result<ExitCode> {
    let methods = arguments
        .methods
        .iter()
        .map(|name| {
            Timed::from_name(name).ok_or_else(|| {
                let known = Timed::ALL.map(Timed::name).join(", ");
                anyhow!("no method `{name}` to time; there are {known}, and the regularisers and optimisers of `gnr methods`")
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let usual = if arguments.model == "mlp" { [1, 28, 28] } else { [3, 32, 32] };
    let input = arguments.input.unwrap_or(usual);
    let mut model = ModelConfig::new(&arguments.model, arguments.classes, input);
    if !arguments.widths.is_empty() {
        model = model.with_widths(arguments.widths.clone());
    }
    model.depth = arguments.depth;
    (model.activation, model.norm) = (arguments.activation, arguments.norm);
    let backend = arguments.backend.iter().map(|name| format!("train.backend={}", serde_json::json!(name)));
    let precision = if arguments.f64 { "f64" } else { &arguments.precision };
    let precision = format!("train.precision={}", serde_json::json!(precision));
    let layout = format!("train.channels_last={}", arguments.channels_last);
    let sets: Vec<String> = backend.chain([precision, layout]).collect();
    let place = Recipe::parse("arguments", "bench", "", &arguments.device.with(&sets))?.train.place();
    let request = BenchRequest {
        model,
        batch: arguments.batch,
        rounds: arguments.rounds,
        methods: if methods.is_empty() { Timed::ALL.to_vec() } else { methods },
        place,
        threads: arguments.threads,
    };
    let lines = measure(&request).with_context(|| format!("benchmark of {}", arguments.model))?;
    let mut out = std::io::stdout();
    for line in lines {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
