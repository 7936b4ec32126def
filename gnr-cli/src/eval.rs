//! The command `gnr eval`: evaluates a checkpoint or published weights.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use gnr_train::{Choice as _, EvalRequest, Split, Team};

use crate::{choice::choice, device::OnDevice};

/// Evaluate a checkpoint or published weights
///
/// A checkpoint of a run knows its model and data; for other weight files (safetensors, PyTorch) give --model and
/// --data. Under mpirun or srun the images are spread over the ranks.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr eval runs/digits-1/checkpoints/last.safetensors --split validation\n  \
    gnr eval resnet20.safetensors --model resnet20 --data folder --data-dir cifar10-jpeg --normalization imagenet\n  \
    gnr eval efficientnet-lite0.pth --model efficientnet_lite0 --data folder --data-dir imagenette --class-map imagenet")]
pub(crate) struct Arguments {
    /// A run folder (its last checkpoint), a safetensors file or a PyTorch checkpoint
    pub(crate) weights: PathBuf,
    /// A name that `gnr models` lists
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// A name that `gnr data` lists
    #[arg(long)]
    pub(crate) data: Option<String>,
    /// Folder of the data set
    #[arg(long)]
    pub(crate) data_dir: Option<String>,
    /// The images to evaluate on
    #[arg(long, value_parser = choice::<Split>(), default_value = Split::Test.name())]
    pub(crate) split: Split,
    /// Preset of mean and standard deviation: cifar10, imagenet, unit, …
    #[arg(long, alias = "normalisation")]
    pub(crate) normalization: Option<String>,
    /// The data's classes among the logits of a model that has more: `imagenet` (classes named by WordNet ids), `index`
    /// (named by their logit), or a file with a class name a line, in the order of the logits
    #[arg(long, value_name = "imagenet|index|FILE")]
    pub(crate) class_map: Option<String>,
    /// Set any other key of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Show the results of every class
    #[arg(long)]
    pub(crate) per_class: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn eval(arguments: Arguments, team: &Team) -> anyhow::Result<ExitCode> {
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
    if found.collapsed {
        writeln!(out, "warning: every image gets the same output: the network has collapsed")?;
    }
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
