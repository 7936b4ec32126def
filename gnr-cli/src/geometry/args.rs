//! Arguments of `gnr landscape`, `gnr minima`, `gnr sharpness` and `gnr plot`.

use std::{path::PathBuf, str::FromStr};

use clap::{ArgGroup, Args, ValueEnum};

use gnr_train::{Choice as _, geometry::Scaling};

use crate::{args::positive, choice::choice, curvature::args::Subject, signal::Stop};

/// The options that all surveys share.
#[derive(Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Seed of the random directions
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder of the results [default: RUN/COMMAND for a run folder, else STEM-COMMAND]. Points that an earlier call
    /// with the same arguments left there are not evaluated again
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but the result
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) stop: Stop,
    /// Draw nothing, write the data only
    #[arg(long)]
    pub(crate) no_plot: bool,
}

/// The loss along a line or over a plane through a checkpoint
///
/// Directions: random ones (default), to other checkpoints, eigenvectors, or the plane in which the run moved. Random
/// directions are filter-normalised (Li et al., 2018): each filter is as long as the checkpoint's, biases and BatchNorm
/// parameters stay unless --move-small. With --bn eval the running statistics stay, too, but between checkpoints they
/// are interpolated like weights. Ctrl-C stops after the current point; the same command continues.
#[derive(Args)]
#[command(group = ArgGroup::new("along").args(["random", "to", "eigenvectors", "trajectory"]))]
#[command(after_help = "Examples:\n  \
    gnr landscape runs/digits-1                               a plane along two random directions\n  \
    gnr landscape runs/digits-1 --random 1 --points 101\n  \
    gnr landscape runs/digits-1 --to runs/digits-2 --range=-0.5,1.5\n  \
    gnr spectrum runs/digits-1 --top 2 --save && gnr landscape runs/digits-1 \\\n      \
    --eigenvectors runs/digits-1/spectrum/eigenvectors.safetensors\n  \
    gnr landscape runs/digits-1 --trajectory                  trained with --set train.keep_every_epochs=1\n\n\
    Files: landscape.csv, landscape.json, landscape.svg, landscape.png, for trajectories trajectory.csv.")]
pub(crate) struct Landscape {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Along N = 1 or 2 random directions [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) random: Option<u8>,
    /// To this run or weight file (at 1; the checkpoint is at 0), of equal architecture and normalisation; a second one
    /// makes a plane
    #[arg(long, value_name = "WEIGHTS")]
    pub(crate) to: Vec<PathBuf>,
    /// Along eigenvectors that `gnr spectrum --save` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) eigenvectors: Option<PathBuf>,
    /// The eigenvectors to use, from 1
    #[arg(long, value_name = "K", value_delimiter = ',', default_values_t = [1, 2], value_parser = positive)]
    pub(crate) ranks: Vec<usize>,
    /// Along the principal directions of the weights that the run kept
    #[arg(long)]
    pub(crate) trajectory: bool,
    /// Length of random directions: of each filter as in the checkpoint, of each tensor as in the checkpoint, or 1 in
    /// total
    #[arg(long, value_parser = choice::<Scaling>(), default_value = Scaling::Filter.name())]
    pub(crate) scaling: Scaling,
    /// Move biases and BatchNorm parameters, too
    #[arg(long)]
    pub(crate) move_small: bool,
    /// First and last coordinate, once for all directions or once for each [default: −1,1; −0.5,1.5 between
    /// checkpoints; the trajectory with a margin]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    pub(crate) range: Vec<Range>,
    /// Points along all directions, or along each [default: 25 for a plane, 51 for a line]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = positive)]
    pub(crate) points: Vec<usize>,
}

/// The ends of a range, given as `LOW,HIGH`.
#[derive(Clone, Copy)]
pub(crate) struct Range(pub(crate) [f64; 2]);

impl FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match parts.as_deref() {
            Some(&[low, high]) if low < high => Ok(Self([low, high])),
            _ => Err("expected two ascending numbers, as in -1,1".into()),
        }
    }
}

/// Local minima and maxima of the loss along random directions (Figure 1b of the paper)
///
/// Computes the loss at --steps points up to --radius along each of --directions random directions of norm 1, and
/// counts where it turns. --refine puts points in between and counts on every grid, --resolution ignores small turns
/// (in single precision, turns near 1e-7 of the loss are rounding errors). Ctrl-C stops after the current point; the
/// same command continues.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr minima runs/digits-1                                the paper's 100 directions, 10 steps of 0.01\n  \
    gnr minima runs/digits-1 --radius 1 --refine 4 --resolution 0,1e-4\n\n\
    Files: minima.csv (direction,distance,loss), minima_counts.csv, minima.json, minima.svg, minima.png.")]
pub(crate) struct Minima {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Number of random directions
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive)]
    pub(crate) directions: usize,
    /// Distance of the last point, in lengths of the direction
    #[arg(long, default_value_t = 0.1)]
    pub(crate) radius: f64,
    /// Number of steps to that distance
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive)]
    pub(crate) steps: usize,
    /// Number of points a step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) refine: usize,
    /// Length of the directions: 1, or as for landscapes
    #[arg(long, value_parser = choice::<Scaling>(), default_value = Scaling::Unit.name())]
    pub(crate) scaling: Scaling,
    /// Smaller turns of the loss do not count; several resolutions give a count each
    #[arg(long, value_name = "LOSS", value_delimiter = ',', default_values_t = [0.0])]
    pub(crate) resolution: Vec<f64>,
}

/// R_SAM and R_GNR of a checkpoint: how much the loss and its gradient grow within a radius
///
/// R_SAM = max L(θ') − L(θ) and R_GNR = ρ·max ‖∇L(θ')‖ over ‖θ' − θ‖ ≤ ρ. Every number is a lower bound of the maximum:
/// by one step as SAM and Algorithm 1 make it, by ascent from θ, and by ascent from random starts as well.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr sharpness runs/digits-1\n  \
    gnr sharpness runs/digits-1 --rho 0.05,0.1,0.2 --steps 20 --starts 5\n  \
    gnr sharpness resnet20.safetensors --model resnet20 --data folder --data-dir cifar10-jpeg --subset 1000\n\n\
    Files: sharpness.csv (measure,rho,search,lower_bound,distance,evaluations,products), sharpness.json.")]
pub(crate) struct Sharpness {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Radii ρ of the ball
    #[arg(long, value_delimiter = ',', default_values_t = [0.1])]
    pub(crate) rho: Vec<f64>,
    /// Points looked at by each ascent
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive)]
    pub(crate) steps: usize,
    /// Random starts beside the checkpoint itself
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) starts: usize,
}

/// Draw a figure from its JSON description as SVG and PNG
///
/// Every command that draws leaves NAME.figure.json, which this draws again: change titles, ranges or scales, or put
/// the panels of several figures into one.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr plot runs/digits-1/landscape/landscape.figure.json\n  \
    gnr plot mine.json --out figures/mine                     mine.svg, mine.png, mine.csv, mine.figure.json\n  \
    gnr plot --example figure1a --out figure1a                two minima that R_SAM takes for equal and R_GNR does not\n\n\
    A figure: {\"title\": \"…\", \"panels\": [{\"title\": \"…\", \"kind\": \"lines\", \"x\": {\"label\": \"epoch\"}, \"y\": {\"label\": \"loss\", \
    \"scale\": \"log\"}, \"series\": [{\"label\": \"SGD\", \"x\": [1, 2], \"y\": [2.3, 1.9]}]}]}\n\
    Kinds: lines, histogram, counts, contour, surface; `cargo doc -p gnr-plot` describes their keys.")]
pub(crate) struct Plot {
    /// The figure's JSON description
    #[arg(required_unless_present = "example", conflicts_with = "example")]
    pub(crate) figure: Option<PathBuf>,
    /// A figure that needs no data: the worked example of the paper
    #[arg(long, value_enum, requires = "out")]
    pub(crate) example: Option<Example>,
    /// Path and name of the files, without an extension [default: those of the description]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) out: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Example {
    /// cos(πθ+π) and cos(3πθ+π) with ρ = 1
    Figure1a,
}
