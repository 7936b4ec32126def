//! The command `gnr bench`: the time of one step of each method, one JSON line each.

use std::{io::Write, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::Args;
use gnr_models::ModelConfig;
use gnr_train::{BenchRequest, Recipe, Timed, bench as measure};

use crate::{
    args::{positive, shape},
    device::OnDevice,
};

/// Time one step of each method on random data
///
/// One JSON line a method: model, method, device, library, median_ms, min_ms, rounds, peak_rss_mb (of the process so
/// far). Methods of the registry by name: --methods asam,esam,lion. `hvp` is a gradient and one exact product at its
/// point. `cargo xtask bench` runs this beside PyTorch.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr bench --model resnet20_projection --batch 128\n  \
    gnr bench --model lenet --input 1,28,28 --method sgd --method gnr_exact")]
pub(crate) struct Arguments {
    /// A name that `gnr models` lists
    #[arg(long)]
    pub(crate) model: String,
    /// Images in the batch
    #[arg(long, default_value_t = 128, value_parser = positive)]
    pub(crate) batch: usize,
    /// Timed rounds, after one that warms up
    #[arg(long, default_value_t = 5, value_parser = positive)]
    pub(crate) rounds: usize,
    /// Threads; 0 takes every core
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Channels, height and width of an image [default: 1,28,28 for mlp, else 3,32,32]
    #[arg(long, value_parser = shape, value_name = "C,H,W")]
    pub(crate) input: Option<[usize; 3]>,
    /// Number of classes
    #[arg(long, default_value_t = 10)]
    pub(crate) classes: usize,
    /// Hidden widths of an MLP, widths of the stages of a ResNet [default: the architecture's own]
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    pub(crate) widths: Vec<usize>,
    /// Number of blocks of a ViT [default: the architecture's own]
    #[arg(long, value_parser = positive)]
    pub(crate) depth: Option<usize>,
    /// Activation, as `model.activation` in recipes [default: relu]
    #[arg(long)]
    pub(crate) activation: Option<gnr_models::Activation>,
    /// Normalisation, as `model.norm` in recipes [default: batch]
    #[arg(long)]
    pub(crate) norm: Option<gnr_models::Norm>,
    /// Time only these: names of the default output, or regularisers and optimisers that `gnr methods` lists, with
    /// their defaults; may be repeated. A regulariser acts from the first step on, over SGD with momentum
    #[arg(long = "methods", alias = "method", value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub(crate) methods: Vec<String>,
    /// The engine, as `train.backend` in recipes [default: cpu; on a card torch, or else dfdx]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Precision, as `train.precision` in recipes: f32, f64; with the backend torch also bf16, and on cards tf32
    #[arg(long, value_name = "NAME", default_value = "f32")]
    pub(crate) precision: String,
    /// Images with the channels of a pixel next to each other, as `train.channels_last` in recipes
    #[arg(long)]
    pub(crate) channels_last: bool,
    /// Double precision: --precision f64
    #[arg(long, conflicts_with = "precision")]
    pub(crate) f64: bool,
}

pub(crate) fn bench(arguments: &Arguments) -> anyhow::Result<ExitCode> {
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
