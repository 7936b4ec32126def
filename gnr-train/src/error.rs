//! Errors between a recipe and a finished run.

use std::path::{Path, PathBuf};

use gnr_core::Quantity;

use crate::RecipeError;

/// The result of every fallible operation of this crate.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// Errors of runs and evaluations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An error of the recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// An error of the data set.
    #[error(transparent)]
    Data(#[from] gnr_data::DataError),
    /// An error of the architecture.
    #[error(transparent)]
    Model(#[from] gnr_models::ModelError),
    /// An error of a weight file.
    #[error(transparent)]
    Weights(Box<gnr_models::weights::WeightsError>),
    /// An error of the network or its backend.
    #[error(transparent)]
    Network(#[from] gnr_nn::Error),
    /// An error of the algorithm, with the step at which it stopped.
    #[error("step {step} (epoch {epoch}): {source}")]
    Step {
        /// The step in the run, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// The error of the algorithm.
        source: gnr_core::Error,
    },
    /// A hyper-parameter that an algorithm refuses, or another error before the first step.
    #[error(transparent)]
    Algorithm(#[from] gnr_core::Error),
    /// A loss or norm that is NaN or infinite.
    #[error(
        "training diverged at step {step} (epoch {epoch}): {quantity} is {value}; {}. {}", last_good(.checkpoint),
        remedy(.quantity, .radii)
    )]
    Diverged {
        /// The scalar that is not finite.
        quantity: Quantity,
        /// Its value: NaN or ±∞.
        value: f64,
        /// The step in the run, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// The last checkpoint, if there is one.
        checkpoint: Option<PathBuf>,
        /// The radii of the recipe's perturbed points, as in `method.sam.rho = 0.05`.
        radii: Vec<String>,
    },
    /// A checkpoint whose evaluation is not finite.
    #[error(
        "evaluation on {what}: the logits of image {image} are not finite ({value}): the weights are unusable"
    )]
    NonFiniteLogits {
        /// The images that were evaluated.
        what: String,
        /// Index of the image in the data set.
        image: usize,
        /// The first logit that is not finite.
        value: f64,
    },
    /// The operating system reported an error.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The reason that the system gives.
        source: std::io::Error,
    },
    /// A run folder that cannot be used this way.
    #[error("{}: {problem}", .path.display())]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// The problem, and what to do.
        problem: String,
    },
    /// Another process works in the run folder.
    #[error("{}: another gnr process{} is working in this folder (it holds this lock)", .path.display(), numbered(.pid))]
    Locked {
        /// Path of the lock file.
        path: PathBuf,
        /// Id of the process that holds it, where it could be read.
        pid: Option<u32>,
    },
    /// A checkpoint that does not belong here or is damaged.
    #[error("{}: {problem}", .path.display())]
    Checkpoint {
        /// Path of the file.
        path: PathBuf,
        /// The contents that were expected, and those that were found.
        problem: String,
    },
    /// An operator that is not a fixed symmetric matrix, or an algorithm that cannot do what was asked.
    #[error(transparent)]
    Curvature(#[from] gnr_hessian::Error),
    /// The error of the first rank that failed, as all ranks report it.
    #[error("rank {rank}: {message}")]
    Rank {
        /// The number of that rank.
        rank: usize,
        /// The error of that rank, causes included.
        message: String,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Request(String),
    /// A pattern of layers that matches no tensor.
    #[error("no parameter of the model fits `{pattern}`; there are {names}")]
    Layers {
        /// The pattern that matches nothing.
        pattern: String,
        /// The names of the tensors.
        names: String,
    },
    /// Classes of a data set that are not found among a model's logits.
    #[error("class map `{map}`: {problem}")]
    ClassMap {
        /// The map's name or file.
        map: String,
        /// The problem with the map.
        problem: String,
    },
    /// The thread pool could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// The value of `train.threads`.
        threads: usize,
        /// The reason that the system gives.
        reason: String,
    },
}

impl From<gnr_models::weights::WeightsError> for TrainError {
    fn from(error: gnr_models::weights::WeightsError) -> Self {
        Self::Weights(Box::new(error))
    }
}

fn last_good(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the last checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".into(),
    }
}

/// Advises which setting to change. Radii are named only for quantities at a perturbed point or computed from one.
fn remedy(quantity: &Quantity, radii: &[String]) -> String {
    let perturbed = match quantity {
        Quantity::Loss | Quantity::GradientNorm => false,
        Quantity::PerturbedLoss
        | Quantity::PerturbedGradientNorm
        | Quantity::HvpNorm
        | Quantity::DirectionNorm
        | Quantity::VectorNorm => !radii.is_empty(),
    };
    if perturbed {
        let (radii, of) =
            (radii.join(" and "), if radii.len() == 1 { "is the radius" } else { "are the radii" });
        format!("{radii} {of} of perturbed points: a smaller one may help, or a smaller optimizer.lr")
    } else {
        "A smaller optimizer.lr, a warm-up or train.clip_norm may help".into()
    }
}

fn numbered(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" ({pid})"))
}

/// Makes an I/O error that names the file and the action.
pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_path_buf();
    move |source| TrainError::Io { path, action, source }
}
