//! Arguments of `gnr spectrum`, `gnr trace` and `gnr density`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use gnr_hessian::Reorthogonalization;
use gnr_nn::Mode;
use gnr_train::{
    Choice as _, Sample, Split,
    curvature::{Method, OperatorKind, TraceMethod},
};

use crate::{
    args::positive,
    choice::{choice, choice_but},
    device::OnDevice,
    signal::Stop,
};

/// The network, its weights and the images of a measurement.
#[derive(Args)]
pub(crate) struct Subject {
    /// A run folder (its last checkpoint) or a safetensors file
    pub(crate) weights: PathBuf,
    /// A name that `gnr models` lists; a run has its own
    #[arg(long, help_heading = "Subject")]
    pub(crate) model: Option<String>,
    /// A name that `gnr data` lists; a run has its own
    #[arg(long, help_heading = "Subject")]
    pub(crate) data: Option<String>,
    /// Folder of the data set
    #[arg(long, help_heading = "Subject")]
    pub(crate) data_dir: Option<String>,
    /// Images `x` (N×C×H×W) and labels `y` (N) of a safetensors file instead of a data set, without normalisation
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "data_dir", "subset", "normalization"], help_heading = "Subject")]
    pub(crate) tensors: Option<PathBuf>,
    /// The images to measure on; never augmented
    #[arg(long, value_parser = choice::<Split>(), default_value = Split::Train.name(), help_heading = "Subject")]
    pub(crate) split: Split,
    /// A part of the images: N (a stratified sample) or N-per-class (the first N of each class) [default: all]
    #[arg(long, value_name = "N[-per-class]", help_heading = "Subject")]
    pub(crate) subset: Option<Sample>,
    /// Preset of mean and standard deviation: cifar10, imagenet, unit, …
    #[arg(long, alias = "normalisation", help_heading = "Subject")]
    pub(crate) normalization: Option<String>,
    /// Only these parameter tensors are variables; `*` stands for any text, a module's name for all below it
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = "Subject")]
    pub(crate) layers: Vec<String>,
    /// Images at a time
    #[arg(long, default_value_t = 256, value_parser = positive, help_heading = "Subject")]
    pub(crate) batch_size: usize,
    /// BatchNorm on running statistics (eval) or on those of each batch (train)
    #[arg(long, value_parser = choice::<Mode>(), default_value = Mode::Eval.name(), help_heading = "Subject")]
    pub(crate) bn: Mode,
    /// Label smoothing of the cross-entropy [default: that of the run, else 0]
    #[arg(long, help_heading = "Subject")]
    pub(crate) label_smoothing: Option<f64>,
    /// Batches whose activations are kept between products, which then take a third less time on these, but memory
    /// [default: 1 if there is one batch, else 0]
    #[arg(long, value_name = "N", help_heading = "Subject")]
    pub(crate) keep_records: Option<usize>,
    /// Set any other key of the recipe (train.threads, train.precision, …); may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", help_heading = "Subject")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
}

/// The options that spectrum, trace and density share.
#[derive(Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// The Hessian, or the generalised Gauss–Newton matrix (for cross-entropy the Fisher information)
    #[arg(long, value_parser = choice::<OperatorKind>(), default_value = OperatorKind::Hessian.name())]
    pub(crate) operator: OperatorKind,
    /// Seed of start and test vectors
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder of the results [default: RUN/COMMAND for a run folder, else COMMAND beside the weights' name]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Continue the unfinished work in the folder, of equal weights, images and options
    #[arg(long)]
    pub(crate) resume: bool,
    /// Do not check first that the operator is one fixed symmetric matrix (saves three products)
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but the result
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) stop: Stop,
}

/// Eigenvalues of the Hessian: top, bottom, dominant or both ends
///
/// Top eigenvalues are the largest algebraically, dominant ones the largest in modulus. Every pair comes with its
/// residual ‖Hv − λv‖ and a verdict. Ctrl-C stops after the current product; --resume continues with equal numbers.
#[derive(Args)]
#[command(group = ArgGroup::new("end").args(["top", "bottom", "dominant", "both_ends"]))]
#[command(after_help = "Examples:\n  \
    gnr spectrum runs/digits-1 --top 5\n  \
    gnr spectrum runs/digits-1 --both-ends 10 --layers linear --save\n  \
    gnr spectrum resnet20.safetensors --model resnet20 --data folder --data-dir cifar10-jpeg --normalization imagenet \\\n      \
    --subset 200-per-class --top 50 --out top50\n\n\
    Files: spectrum.csv (rank,end,eigenvalue,residual,verdict), spectrum.json, with --save eigenvectors.safetensors.")]
pub(crate) struct Spectrum {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The K largest eigenvalues [default: 5]
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) top: Option<usize>,
    /// The K smallest eigenvalues
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) bottom: Option<usize>,
    /// The K eigenvalues of largest modulus
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) dominant: Option<usize>,
    /// The K largest and the K smallest
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) both_ends: Option<usize>,
    /// A pair has converged when ‖Hv − λv‖ ≤ TOL·|λ|
    #[arg(long, value_name = "TOL", default_value_t = 1e-3)]
    pub(crate) tol: f64,
    /// Lanczos with thick restart, or power iteration with deflation (dominant pairs only; residuals relative to λ₁)
    #[arg(long, value_parser = choice::<Method>(), default_value = Method::Lanczos.name())]
    pub(crate) method: Method,
    /// Vectors in a block (Lanczos): more than one pays over many batches whose records are not kept, and for equal
    /// eigenvalues
    #[arg(long, default_value_t = 1, value_parser = positive)]
    pub(crate) block: usize,
    /// Vectors in the basis before a restart (Lanczos) [default: 3·wanted + 40, within 2 GiB]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_basis: Option<usize>,
    /// Largest number of products (power iteration: for each pair)
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    pub(crate) max_matvecs: usize,
    /// The vectors to which a new one is made orthogonal (Lanczos): all, or those that have converged
    #[arg(long, value_parser = choice_but(Reorthogonalization::Local), default_value = Reorthogonalization::Full.name())]
    pub(crate) reorthogonalize: Reorthogonalization,
    /// Measure values and residuals with one more product a pair, instead of taking them from the recurrence
    #[arg(long)]
    pub(crate) verify: bool,
    /// Write the eigenvectors, with the names and shapes of the model's tensors
    #[arg(long)]
    pub(crate) save: bool,
}

/// Trace of the Hessian with a confidence interval
///
/// With --tol the work ends when the interval's half width is at most TOL·|trace|, else after --samples. The interval
/// is looked at a few times that share the allowed error, so that it keeps its confidence.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr trace runs/digits-1\n  \
    gnr trace runs/digits-1 --method hutch-plus-plus --tol 0.02 --samples 300\n  \
    gnr trace runs/digits-1 --method diagonal --samples 200   every entry of the diagonal, too\n\n\
    Files: trace.csv (sample,estimate), trace.json, for --method diagonal also diagonal.safetensors.")]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Hutchinson's estimator, Hutch++, XTrace, or Hutchinson's keeping the whole diagonal
    #[arg(long, value_parser = choice::<TraceMethod>(), default_value = TraceMethod::Hutchinson.name())]
    pub(crate) method: TraceMethod,
    /// Normal test vectors instead of random signs (Hutchinson's)
    #[arg(long)]
    pub(crate) gaussian: bool,
    /// Vectors of the subspace whose trace is computed (Hutch++), two products each [default: 20]
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) sketch: Option<usize>,
    /// Largest number of test vectors, at least 3; XTrace takes two products each, the others one
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive)]
    pub(crate) samples: usize,
    /// Relative half width of the interval at which to stop [default: take all samples]
    #[arg(long, value_name = "TOL")]
    pub(crate) tol: Option<f64>,
    /// Confidence of the interval
    #[arg(long, default_value_t = 0.95)]
    pub(crate) confidence: f64,
    /// Products at once: cheaper over several batches, memory of two vectors each
    #[arg(long, default_value_t = 8, value_parser = positive)]
    pub(crate) block: usize,
}

/// Density of the Hessian's eigenvalues
///
/// Stochastic Lanczos quadrature: the mean over random starts of quadratures with --steps nodes, broadened by a normal.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr density runs/digits-1 --starts 5\n  \
    gnr density runs/digits-1 --operator ggn --sigma 0.1\n\n\
    Files: density.csv (lambda,density,standard_error), density_nodes.csv (start,node,weight), density.json.")]
pub(crate) struct Density {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Random starts; with several there are standard errors
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = positive)]
    pub(crate) starts: usize,
    /// Lanczos steps from each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive)]
    pub(crate) steps: usize,
    /// Starts that advance together: cheaper over several batches, memory of --steps vectors each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) at_once: usize,
    /// Standard deviation of the broadening [default: 1/200 of the range]
    #[arg(long)]
    pub(crate) sigma: Option<f64>,
    /// Points of the grid
    #[arg(long, default_value_t = 1000, value_parser = positive)]
    pub(crate) points: usize,
}
