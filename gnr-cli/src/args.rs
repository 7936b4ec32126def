//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gnr_study::{Shard, compare::Arm, sweep::Axis};
use gnr_train::{Choice as _, Split};

use crate::device::OnDevice;

pub(crate) use crate::curvature::args::{Density, Spectrum, Trace};
pub(crate) use crate::geometry::args::{Landscape, Minima, Plot, Sharpness};
use crate::{choice::choice, signal::Stop};

/// Trains image classifiers to flat minima: gradient norm regularisation (GNR), SAM, exact Hessian-vector products.
#[derive(Parser)]
#[command(name = "gnr", version, long_version = crate::VERSION, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    gnr compare                                   SGD, SAM, GNR and both on digits with wrong labels: one minute\n  \
    gnr train                                     the same digits with SGD + GNR alone\n  \
    gnr train digits --set method.gnr=false       clean digits without GNR\n  \
    gnr train cifar10-resnet20-sgd-gnr --set data.dir=~/cifar-10-batches-bin\n  \
    gnr resume runs/digits-1\n  \
    gnr eval runs/digits-1/checkpoints/best.safetensors\n  \
    gnr spectrum runs/digits-1 --top 5            largest Hessian eigenvalues over the training images")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train one recipe with several methods and say which is better, how surely, and at what cost
    Compare(Compare),
    /// Train by a recipe
    Train(Train),
    /// Continue a run that was stopped
    Resume(Resume),
    /// Search over recipe keys on held-out images
    Sweep(Sweep),
    /// Train what a table or figure of the paper needs, and report it
    Reproduce(crate::reproduce::Arguments),
    #[cfg(feature = "watch")]
    /// Watch runs in the terminal while they train, or look at finished ones
    Watch(crate::dashboard::Arguments),
    /// Write the page of a run, or of several runs over each other
    Report(crate::report::Arguments),
    /// Evaluate a checkpoint or published weights
    Eval(Eval),
    /// List the tensors of a weight file, or compare them with a model
    Weights(Weights),
    /// Turn a weight file into safetensors
    Convert(Convert),
    /// Time one step of each method on random data
    Bench(Bench),
    /// Eigenvalues of the Hessian: top, bottom, dominant or both ends
    Spectrum(Spectrum),
    /// Trace of the Hessian with a confidence interval
    Trace(Trace),
    /// Density of the Hessian's eigenvalues
    Density(Density),
    /// The loss along a line or over a plane through a checkpoint
    Landscape(Landscape),
    /// Local minima and maxima of the loss along random directions
    Minima(Minima),
    /// R_SAM and R_GNR of a checkpoint within a radius
    Sharpness(Sharpness),
    /// Draw a figure from its JSON description
    Plot(Plot),
    #[command(hide = true)]
    Generate(crate::generate::Arguments),
    /// List the models
    Models,
    /// List what this program and this machine can compute with
    Devices(crate::device::Arguments),
    /// List the optimisers and schedules with their equations, keys, costs and references, or describe one
    Methods(Methods),
    /// List the data sets, describe one, fetch, verify
    Data(Data),
}

/// Train one recipe with several methods and say which is better, how surely, and at what cost
///
/// Without a recipe: ResNet-8 on the embedded digits of which 40 % have wrong labels, with SGD, SAM, GNR and GNR over
/// SAM, two seeds: about a minute on two cores. Methods share seed, initialisation, order of the data and wrong labels,
/// so that differences are paired. Writes compare.html, compare.md, compare.json and curves.{svg,png}. The same command
/// continues what was stopped. --tune first searches rho and alpha, learning rate and weight decay of every method,
/// with the same number of tries for each, on held-out training images (a tenth, unless the recipe sets
/// data.validation), and then trains other seeds on all images. Exit code: 0 done, 130 interrupted, 1 error.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr compare\n  \
    gnr compare my.toml --seeds 5 --methods sgd,sam,gnr\n  \
    gnr compare my.toml --methods sgd --methods 'sam method.sam.rho=0.2' --methods 'rare: method.gnr.every=10 method.gnr.alpha=3.0'\n  \
    gnr compare my.toml --tune --seeds 10 --out runs/mine\n  \
    gnr compare my.toml --tune 16 --grid method.gnr.alpha=0.3,1.0,3.0 --set train.epochs=20\n  \
    gnr compare my.toml --seeds 10 --shard $SLURM_ARRAY_TASK_ID/4 --out SHARED   part of the runs; without --shard: the report")]
pub(crate) struct Compare {
    /// A TOML file, or the name of a built-in recipe [default: digits-noisy]
    pub(crate) recipe: Option<String>,
    /// Methods, of which the first is the one that the others are compared with: names that --list-methods lists, with
    /// assignments of recipe keys if wanted, or NAME: SECTION.KEY=VALUE ...; separated by commas or repeated [default:
    /// base,sam,gnr,sam+gnr]
    #[arg(long, value_name = "METHOD")]
    pub(crate) methods: Vec<Arms>,
    /// List the methods that have names
    #[arg(long = "list-methods", exclusive = true)]
    pub(crate) list: bool,
    /// Seeds 0, 1, ... of each method
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Tune every method first, with so many tries for each
    #[arg(long, value_name = "TRIES", num_args = 0..=1, default_missing_value = "16", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub(crate) tune: Option<u64>,
    /// Seeds of each try
    #[arg(long, value_name = "N", default_value_t = 1, requires = "tune", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) tune_seeds: u64,
    /// Fraction of the training images that tries hold out, unless the recipe sets data.validation
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1, requires = "tune", value_parser = fraction)]
    pub(crate) tune_validation: f64,
    /// The values that tuning tries for a key, in place of the usual ones; may be repeated
    #[arg(long = "grid", value_name = "SECTION.KEY=VALUE,VALUE,...", requires = "tune")]
    pub(crate) grid: Vec<Axis>,
    /// Set a key of the recipe for every method; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Folder of the comparison [default: runs/compare-RECIPE]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) jobs: Option<usize>,
    /// Threads of each run; 0: the cores shared among the jobs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    /// Train part i of n only, as 1/4; parts may share --out on a common disk
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Write a Slurm job array of so many parts and a job that reports after them, and submit both where there is an
    /// sbatch
    #[arg(long, value_name = "PARTS", value_parser = positive, conflicts_with = "shard")]
    pub(crate) slurm: Option<usize>,
    /// Do not measure curvature and sharpness of the solutions
    #[arg(long)]
    pub(crate) no_sharpness: bool,
    /// Print nothing but errors and the names of the files
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) stop: Stop,
    /// Show the methods, the grids and the runs, check data and models, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Parses a fraction that leaves images on both sides, in (0, 1).
fn fraction(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?}: expected a number"))?;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(format!("{value}: must lie between 0 and 1")) }
}

/// Names of methods separated by commas, or one method with its assignments, whose values may have commas.
#[derive(Clone)]
pub(crate) struct Arms(pub(crate) Vec<Arm>);

impl std::str::FromStr for Arms {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['=', ':']) {
            return Ok(Self(vec![text.parse()?]));
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

const TRAIN_EXAMPLES: &str = "Examples:\n  \
    gnr train\n  \
    gnr train my.toml --out runs/mine\n  \
    gnr train digits --set train.epochs=5 --set optimizer.lr=0.05 --set method.sam=true\n  \
    gnr train --set method.gnr.hvp=forward-difference\n  \
    gnr train --set method.gnr.from_epoch=20 --set train.average.kind=swa\n  \
    gnr train --set method.gnr=false --set method.sam=true --set method.group=16\n  \
    gnr train --set optimizer.name=adamw --set schedule.name=step\n  \
    gnr train my.toml --set model.weights=published.pth --set model.load=new-head --set model.freeze=backbone\n  \
    gnr train cifar10-resnet18 --dry-run          print the whole recipe, check the data, train nothing";

/// Train by a recipe
///
/// Without a recipe: ResNet-8 with SGD + GNR on the embedded digits of which 40 % have wrong labels. Ctrl-C ends after
/// the current step, with a checkpoint. Exit code: 0 finished, 130 interrupted, 1 error, 2 usage.
#[derive(Args)]
#[command(after_help = crate::methods::named(TRAIN_EXAMPLES))]
pub(crate) struct Train {
    /// A TOML file, or the name of a built-in recipe (see `gnr train --list`) [default: digits-noisy]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe, in TOML syntax or as a bare string; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Run folder [default: runs/RECIPE-N]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Continue the run in --out if there is one
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) stop: Stop,
    /// Print the complete recipe and what it would do, check data and model, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List the built-in recipes
    #[arg(long, exclusive = true)]
    pub(crate) list: bool,
}

/// Continue a run that was stopped, or give a finished one more epochs
///
/// The result is that of a run that never stopped, bit for bit. More epochs change the learning rate of schedules that
/// end with the run, such as the cosine: the program says how, and summary.json records it. A run whose images changed
/// since it began is refused, with what changed.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr resume runs/digits-1\n  \
    gnr resume runs/digits-1 --set train.epochs=60\n  \
    gnr resume runs/mine-1 --set data.dir=/new/place")]
pub(crate) struct Resume {
    /// The run folder
    pub(crate) folder: PathBuf,
    /// More epochs (train.epochs), another train.backend, or keys that decide nothing, such as data.dir and
    /// train.workers; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Continue although the images are not those that the run began with
    #[arg(long)]
    pub(crate) accept_changed_data: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Search over recipe keys on held-out images
///
/// Trains every combination of the grid on nine tenths of the training images (unless the recipe sets data.validation)
/// and chooses by the accuracy on the rest; the test images decide nothing. The same command continues an interrupted
/// sweep: finished runs are kept, begun ones resume. Writes sweep.json, heatmap.html and chosen.toml, a recipe with the
/// chosen values. Exit code: 0 done, 130 interrupted, 1 error (a run that fails alone is told, and is an empty cell).
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr sweep                                            the paper's grids of rho and alpha on the embedded digits\n  \
    gnr sweep digits --grid method.gnr.rho=0.05,0.1,0.2 --grid method.gnr.alpha=0.1,1 --set train.epochs=5\n  \
    gnr sweep my.toml --grid optimizer.lr=0.03,0.1,0.3 --seeds 3 --jobs 4 --out runs/lr\n  \
    gnr sweep digits --method asam                       the radius of ASAM\n  \
    gnr sweep my.toml --seeds 3 --slurm 16 --out SHARED   a job array of 16 parts, and the result after them\n  \
    gnr train runs/lr/chosen.toml")]
pub(crate) struct Sweep {
    /// A TOML file, or the name of a built-in recipe [default: digits]
    pub(crate) recipe: Option<String>,
    /// The method to search for, as `gnr compare --methods` names it: a regulariser or an optimiser that `gnr methods`
    /// lists, or several with + between them [default: the recipe's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<Arm>,
    /// A key and the values to try; may be repeated [default: what `gnr compare --tune` searches of --method; without
    /// it the paper's grids of method.gnr.rho and method.gnr.alpha]
    #[arg(long = "grid", value_name = "SECTION.KEY=VALUE,VALUE,...")]
    pub(crate) grid: Vec<Axis>,
    /// Set a key of the recipe for all runs; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Seeds (0, 1, ...) of each combination
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Runs at a time [default: as many as there are cores]
    #[arg(long, value_parser = positive)]
    pub(crate) jobs: Option<usize>,
    /// Threads of each run; 0: the cores shared among the runs
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Folder of the sweep [default: runs/sweep-RECIPE]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Train part i of n only, as 1/4; parts share --out on a common disk. Without --shard: what is left, and the
    /// result
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Write a Slurm job array of so many parts and a job that reports after them, and submit both where there is an
    /// sbatch
    #[arg(long, value_name = "PARTS", value_parser = positive, conflicts_with = "shard")]
    pub(crate) slurm: Option<usize>,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// List the runs and what is finished, check data and model, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Evaluate a checkpoint or published weights
///
/// A checkpoint of a run knows its model and data; for other weight files (safetensors, PyTorch) give --model and
/// --data. Under mpirun or srun the images are spread over the ranks.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr eval runs/digits-1/checkpoints/last.safetensors --split validation\n  \
    gnr eval resnet20.safetensors --model resnet20 --data folder --data-dir cifar10-jpeg --normalization imagenet\n  \
    gnr eval efficientnet-lite0.pth --model efficientnet_lite0 --data folder --data-dir imagenette --class-map imagenet")]
pub(crate) struct Eval {
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

/// Time one step of each method on random data
///
/// One JSON line a method: model, method, device, library, median_ms, min_ms, rounds, peak_rss_mb (of the process so
/// far). Methods of the registry by name: --methods asam,esam,lion. `hvp` is a gradient and one exact product at its
/// point. `cargo xtask bench` runs this beside PyTorch.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr bench --model resnet20_projection --batch 128\n  \
    gnr bench --model lenet --input 1,28,28 --method sgd --method gnr_exact")]
pub(crate) struct Bench {
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

/// Parses the shape of an image: channels, height and width, as in `3,32,32`.
fn shape(text: &str) -> Result<[usize; 3], String> {
    let numbers = text.split(',').map(|number| positive(number.trim())).collect::<Result<Vec<_>, _>>();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or("expected C,H,W, as in 3,32,32".into())
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{error}")),
    }
}

/// List the optimisers and schedules with their equations, keys, costs and references, or describe one
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr methods\n  \
    gnr methods lion\n  \
    gnr train --set optimizer.name=lion --set optimizer.lr=0.001")]
pub(crate) struct Methods {
    /// A method to describe
    pub(crate) name: Option<String>,
}

/// List the data sets, describe one, fetch, verify
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    gnr data\n  \
    gnr data cifar10\n  \
    gnr data fetch cifar10 --data-dir ~/data\n  \
    gnr data cifar10 --data-dir ~/data\n  \
    gnr data verify ~/data/imagenet/val\n  \
    gnr data bench cifar10-resnet20-sgd --set data.dir=~/data")]
pub(crate) struct Data {
    #[command(subcommand)]
    pub(crate) action: Option<DataAction>,
    /// A data set to describe
    pub(crate) name: Option<String>,
    /// Open it in this folder and count its images
    #[arg(long, requires = "name")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum DataAction {
    /// Download, check and unpack a data set
    Fetch(Fetch),
    /// Look for damaged files
    Verify(Verify),
    /// Time the loader of a recipe beside one gradient of its model
    Bench(DataBench),
}

/// Download, check and unpack a data set
///
/// Files that are there already are not downloaded again; an interrupted download continues where it was. Checksums are
/// the published ones; archives with links or with paths that lead out of the folder are refused.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr data fetch cifar10 --data-dir ~/data\n  \
    gnr data fetch food101 --data-dir ~/data --mirror https://mirror.example/food101")]
pub(crate) struct Fetch {
    /// A name that `gnr data` lists
    pub(crate) name: String,
    /// Folder to put it in
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Address of a folder with these files, tried before the published addresses
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Look for damaged files
///
/// Reads every image, IDX, CIFAR, MATLAB and gzip file at or below PATH to its end, on all cores. Lists, with the
/// reason, the damaged files and those that are sound but of a kind or layout that is not read. Exit code: 0 when there
/// is none, else 1.
#[derive(Args)]
#[command(after_help = "Example:\n  gnr data verify ~/data/food-101/images")]
pub(crate) struct Verify {
    /// A folder or a file
    pub(crate) path: PathBuf,
    /// Print damaged files only
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Time the loader of a recipe beside one gradient of its model
///
/// Prints images a second of the loader alone, of one gradient alone (the cheapest training step), and of both together
/// as in training; and the share of time that training waits for images.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr data bench\n  \
    gnr data bench cifar10-resnet20-sgd --set data.name=folder --set data.dir=cifar10-jpeg\n  \
    gnr data bench my.toml --set train.workers=4 --json")]
pub(crate) struct DataBench {
    /// A TOML file, or the name of a built-in recipe [default: digits]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Batches to time
    #[arg(long, default_value_t = 10, value_parser = positive)]
    pub(crate) batches: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
