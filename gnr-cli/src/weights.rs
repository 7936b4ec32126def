//! The commands `gnr weights` and `gnr convert`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use gnr_models::{
    AnyModel, ModelConfig,
    weights::{Options, Policy, WeightFile, convert as to_safetensors, fit, objects},
};
use gnr_nn::Model;

use crate::args::{positive, shape};

/// List the tensors of a weight file, or compare them with a model
///
/// Reads safetensors, PyTorch checkpoints of any age since 0.1.10, and TorchScript. No code in a checkpoint is ever
/// run; objects that are not read are listed. Prints a line for each tensor: name, number format, shape, sum, CRC-32C
/// of the bytes. With --model it prints what a load would find; exit code 1 when the file lacks something of the model.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr weights efficientnet-lite0.pth\n  \
    gnr weights resnet18.pth --model resnet18_imagenet --classes 1000")]
pub(crate) struct Weights {
    /// A safetensors file or a PyTorch checkpoint
    pub(crate) path: PathBuf,
    /// The part of the file that --model is compared with, e.g. state_dict_ema [default: the part with most of its
    /// tensors]
    #[arg(long, requires = "model")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) model: OfModel,
    /// Print JSON: one object a tensor, or the report
    #[arg(long)]
    pub(crate) json: bool,
}

/// Turn a weight file into safetensors
///
/// Tensors keep their number format. Wrappers (state_dict, module, …) are taken off the names.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr convert checkpoint.pth weights.safetensors\n  \
    gnr convert checkpoint.pth ema.safetensors --key state_dict_ema\n  \
    gnr convert timm.pth ours.safetensors --model efficientnet_lite0      only the model's tensors, under its names")]
pub(crate) struct Convert {
    /// A PyTorch checkpoint or a safetensors file
    pub(crate) from: PathBuf,
    /// The safetensors file to write
    pub(crate) to: PathBuf,
    /// The part of the file to take, e.g. state_dict_ema
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) model: OfModel,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// The model with which a file is compared.
#[derive(Args)]
pub(crate) struct OfModel {
    /// A name that `gnr models` lists
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Number of classes of --model
    #[arg(long, default_value_t = 1000, value_parser = positive, requires = "model")]
    pub(crate) classes: usize,
    /// Channels, height and width of an image of --model [default: 3,224,224]
    #[arg(long, value_parser = shape, value_name = "C,H,W", requires = "model")]
    pub(crate) input: Option<[usize; 3]>,
}

pub(crate) fn weights(arguments: &Weights) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let file = WeightFile::open(&arguments.path)?;
    if let Some(model) = arguments.model.build()? {
        // The report lists everything, and nothing is refused.
        let options = Options { policy: Policy::Matching, key: arguments.key.clone(), ..Options::default() };
        let layout = model.layout();
        let report = fit(&file, layout, vec![Vec::new(); layout.entries().len()], &options)?.report;
        if arguments.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            report.lines().iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        let whole = report.matched.len() == report.total();
        return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let width = file.stored().iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    let (mut numbers, mut unread) = (0, None);
    for tensor in file.stored() {
        numbers += tensor.len();
        // An altered tensor is reported in its line, and the others are listed all the same.
        let (sum, crc) = match file.fingerprint(tensor) {
            Ok(found) => found,
            Err(error) => {
                if arguments.json {
                    let line = serde_json::json!({
                        "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "error": error.to_string(),
                    });
                    writeln!(out, "{line}")?;
                } else {
                    let shape = format!("{:?}", tensor.shape);
                    writeln!(
                        out,
                        "{:width$}  {:4} {shape:20} cannot be read",
                        tensor.name,
                        tensor.dtype.to_string()
                    )?;
                }
                unread.get_or_insert(error);
                continue;
            }
        };
        if arguments.json {
            let line = serde_json::json!({
                "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "sum": sum,
                "crc32c": format!("{crc:08x}"),
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let sum = sum.map_or_else(|| "?".into(), |sum| format!("{sum:.9e}"));
        let shape = format!("{:?}", tensor.shape);
        writeln!(
            out,
            "{:width$}  {:4} {shape:20} sum {sum:>17}  crc32c {crc:08x}",
            tensor.name,
            tensor.dtype.to_string()
        )?;
    }
    if arguments.json {
        for object in file.foreign() {
            let (path, class) = object.split_once(": ").unwrap_or((object, ""));
            writeln!(out, "{}", serde_json::json!({ "not_read": path, "class": class }))?;
        }
    } else {
        writeln!(out, "{} tensors, {numbers} numbers ({})", file.stored().len(), file.format())?;
        if !file.foreign().is_empty() {
            writeln!(out, "Python objects, neither read nor run ({}):", file.foreign().len())?;
            objects(file.foreign()).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        for (key, value) in file.metadata() {
            let start: String = value.chars().take(80).collect();
            let more = if start.len() < value.len() { "…" } else { "" };
            writeln!(out, "note {key}: {start}{more}")?;
        }
    }
    unread.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

pub(crate) fn convert(arguments: &Convert) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.force || !arguments.to.exists(),
        "{} exists already; nothing was overwritten (--force overwrites)",
        arguments.to.display()
    );
    let file = WeightFile::open(&arguments.from)?;
    let model = arguments.model.build()?;
    let layout = model.as_ref().map(Model::layout);
    let done = to_safetensors(&file, arguments.key.as_deref(), layout, &arguments.to)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}: {} tensors, {} bytes", arguments.to.display(), done.tensors, done.bytes)?;
    if !done.prefix.is_empty() {
        writeln!(out, "taken off the names: {}", done.prefix)?;
    }
    for (wrapper, count) in &done.unwrapped {
        writeln!(out, "taken off inside {count} names: {wrapper}")?;
    }
    if !done.left_out.is_empty() {
        let shown: Vec<_> = done.left_out.iter().take(4).map(String::as_str).collect();
        let more = if done.left_out.len() > shown.len() { ", …" } else { "" };
        writeln!(out, "left out: {} tensors ({}{more})", done.left_out.len(), shown.join(", "))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl OfModel {
    /// Builds the model, if one was named.
    fn build(&self) -> anyhow::Result<Option<AnyModel>> {
        let Some(name) = &self.model else { return Ok(None) };
        let input = self.input.unwrap_or([3, 224, 224]);
        Ok(Some(AnyModel::build(&ModelConfig::new(name.as_str(), self.classes, input))?))
    }
}
