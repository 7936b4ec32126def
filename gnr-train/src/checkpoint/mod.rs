//! Checkpoints as safetensors files.
//!
//! A file has the model's tensors under their published names, and the optimiser's under
//! `optimizer.<leaf>.<parameter>`. The state of regulariser i is under `regularizer.<i>.<leaf>.<parameter>`. An average
//! of the weights is under `average.weights.<leaf>.<parameter>` and `average.statistics.<leaf>.<buffer>`. One metadata
//! entry, `gnr`, holds everything else as JSON.
//!
//! A frozen parameter is among the model's tensors and not among the optimiser's or the average's.
//!
//! Nothing in the file depends on the time, the machine or how often the run was stopped: equal states are equal bytes.

mod files;
mod progress;
mod read;
mod write;

use serde::{Deserialize, Serialize};

pub use files::kept_checkpoints;
pub(crate) use files::{average, drop_abandoned, kept, last, pending_best, promote_best};
pub use progress::{Collapse, Extension, Flipped, Move, Progress, Sums};
pub(crate) use progress::{is_zero, whole};
pub use read::CheckpointFile;
pub(crate) use write::{Asked, Content, State, all_parameters};

/// Version of the `gnr` entry's format.
const FORMAT: u32 = 1;
const ENTRY: &str = "gnr";
const OPTIMIZER: &str = "optimizer.";
const REGULARIZER: &str = "regularizer.";
const AVERAGE_WEIGHTS: &str = "average.weights.";
const AVERAGE_STATISTICS: &str = "average.statistics.";

/// The contents of the `gnr` entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// Number of classes.
    pub classes: usize,
    /// The shape `[C, H, W]` of an image.
    pub input: [usize; 3],
    /// The position of the run.
    pub progress: Progress,
    /// The resolved recipe as TOML.
    pub recipe: String,
}

impl Header {
    /// Makes an entry of the current format.
    pub(crate) fn new(classes: usize, input: [usize; 3], progress: Progress, recipe: String) -> Self {
        Self { format: FORMAT, classes, input, progress, recipe }
    }
}
