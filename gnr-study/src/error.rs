//! The errors of studies.

use std::path::{Path, PathBuf};

use gnr_train::{RecipeError, TrainError};

/// The result of every fallible operation of this crate.
pub type Result<T, E = StudyError> = std::result::Result<T, E>;

/// Errors of studies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// An error of a run, or of a measurement of one.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// An error of a recipe of the study.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// An error of a data set.
    #[error(transparent)]
    Data(#[from] gnr_data::DataError),
    /// A figure that cannot be drawn.
    #[error(transparent)]
    Plot(#[from] gnr_plot::PlotError),
    /// A request that cannot be carried out, with the reason.
    #[error("{0}")]
    Request(String),
    /// Runs that failed, after all others were done.
    #[error("{failed} of {all} runs failed; run the command again to retry them")]
    Failed {
        /// Number of failed runs.
        failed: usize,
        /// Number of all runs.
        all: usize,
    },
    /// The study was asked to stop while it measured or trained; what had begun can go on.
    #[error("interrupted; the same command continues where it stopped")]
    Interrupted,
    /// Another process works in the study's folder.
    #[error("{}: another gnr process ({holder}) is working in this folder; wait for it, or choose another --out", .folder.display())]
    Locked {
        /// The study's folder.
        folder: PathBuf,
        /// The process in words.
        holder: String,
    },
    /// A file of the study that is not what it should be.
    #[error("{}: {problem}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The contents that were expected, and those that were found.
        problem: String,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl From<TrainError> for StudyError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

/// Names the file and the action in an I/O error.
pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> StudyError {
    let path = path.to_path_buf();
    move |source| StudyError::Io { path, action, source }
}
