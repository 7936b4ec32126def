//! Errors of networks and backends: what was expected, what came, and in which operation.

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of tensor operations, layers and oracles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands whose shapes do not go together.
    #[error("{op}: shapes {lhs:?} and {rhs:?} do not go together")]
    ShapeMismatch {
        /// The operation that was asked for.
        op: &'static str,
        /// Shape of the first operand.
        lhs: Vec<usize>,
        /// Shape of the second operand.
        rhs: Vec<usize>,
    },
    /// One operand whose shape the operation cannot take.
    #[error("{op}: shape {found:?}, expected {expected}")]
    InvalidShape {
        /// The operation that was asked for.
        op: &'static str,
        /// The expected shape, in words.
        expected: String,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A label that names no class.
    #[error("label {label} of sample {index} is not below the number of classes, {classes}")]
    LabelOutOfRange {
        /// Position of the label in the batch.
        index: usize,
        /// The label that is out of range.
        label: usize,
        /// Number of classes; labels are below it.
        classes: usize,
    },
    /// A replay asked for another operation than the recorded one: the model branched differently.
    #[error(
        "replay of operation {position}: recorded {recorded_op} of shape {recorded_shape:?}, asked for {asked_op} of shape \
         {asked_shape:?}; a model must not branch on data or random state"
    )]
    RecordMismatch {
        /// Index of the record.
        position: usize,
        /// Operation recorded in the gradient pass.
        recorded_op: &'static str,
        /// Output shape of the recorded operation.
        recorded_shape: Vec<usize>,
        /// Operation asked for in the replay.
        asked_op: &'static str,
        /// Output shape of the operation asked for.
        asked_shape: Vec<usize>,
    },
    /// A replay asked for more operations than were recorded.
    #[error("replay asked for operation {position} ({asked_op}), but only {recorded} were recorded")]
    RecordExhausted {
        /// Index of the operation asked for.
        position: usize,
        /// Operation asked for in the replay.
        asked_op: &'static str,
        /// Number of recorded operations.
        recorded: usize,
    },
    /// An exchange with the other ranks of a data-parallel computation failed.
    #[error(transparent)]
    Ranks(Box<gnr_core::Error>),
    /// Any other error, in words.
    #[error("{0}")]
    Invalid(String),
    /// A failure inside the tensor library.
    #[error("tensor library: {0}")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for gnr_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Ranks(error) => *error,
            error => gnr_core::Error::backend(error),
        }
    }
}
