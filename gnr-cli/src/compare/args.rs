//! The arguments of `gnr compare`.

use std::path::PathBuf;

use clap::Args;
use gnr_study::{Shard, compare::Arm, sweep::Axis};

use crate::{args::positive, device::OnDevice, signal::Stop};

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
    gnr compare my.toml --tune --tune-finalists 3 --seeds 10 --out runs/mine\n  \
    gnr compare my.toml --tune 16 --grid method.gnr.alpha=0.3,1.0,3.0 --set train.epochs=20\n  \
    gnr compare my.toml --choices runs/mine --set data.subset.count=50000 --out runs/large   tuned on fewer images\n  \
    gnr compare my.toml --seeds 10 --shard $SLURM_ARRAY_TASK_ID/4 --out SHARED   part of the runs; without --shard: the report")]
pub(crate) struct Arguments {
    /// A TOML file, or the name of a built-in recipe [default: digits-noisy]
    pub(crate) recipe: Option<String>,
    /// Methods, of which the first is the one that the others are compared with: names that --list-methods lists and
    /// names of optimisers, with assignments of recipe keys if wanted, or NAME: SECTION.KEY=VALUE ...; separated by
    /// commas or repeated [default: base,sam,gnr,sam+gnr]
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
    /// Train the K best tries of each method with more seeds, and choose by the mean of all their seeds
    #[arg(long, value_name = "K", requires = "tune", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub(crate) tune_finalists: Option<u64>,
    /// Further seeds of each of the K best tries
    #[arg(long, value_name = "N", default_value_t = 2, requires = "tune_finalists", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) tune_final_seeds: u64,
    /// Fraction of the training images that tries hold out, unless the recipe sets data.validation
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1, requires = "tune", value_parser = fraction)]
    pub(crate) tune_validation: f64,
    /// The values that tuning tries for a key that it varies, in place of the usual ones; may be repeated
    #[arg(long = "grid", value_name = "SECTION.KEY=VALUE,VALUE,...", requires = "tune")]
    pub(crate) grid: Vec<Axis>,
    /// Take learning rate, weight decay and strengths of each method from another comparison, where --tune chose them:
    /// its folder or its compare.json. Methods are found by name
    #[arg(long, value_name = "DIR", conflicts_with_all = ["tune", "tune_seeds", "tune_finalists", "tune_final_seeds", "tune_validation", "grid"])]
    pub(crate) choices: Option<PathBuf>,
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
