//! Errors of algorithms, with the data that explain them.

use std::{error::Error as StdError, fmt};

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A scalar that an algorithm watches; names the culprit when it is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The loss L̂ on the batch.
    Loss,
    /// The gradient norm ‖∇L̂(θ)‖.
    GradientNorm,
    /// The loss L̂(θ_adv) at a perturbed point.
    PerturbedLoss,
    /// The gradient norm ‖∇L̂(θ_adv)‖ at a perturbed point.
    PerturbedGradientNorm,
    /// The norm ‖H v‖ of a Hessian-vector product.
    HvpNorm,
    /// The norm of the final direction handed to the optimiser.
    DirectionNorm,
    /// Any other norm or inner product of vectors.
    VectorNorm,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "the loss",
            Self::GradientNorm => "the gradient norm",
            Self::PerturbedLoss => "the loss at the perturbed point",
            Self::PerturbedGradientNorm => "the gradient norm at the perturbed point",
            Self::HvpNorm => "the norm of a Hessian-vector product",
            Self::DirectionNorm => "the norm of the step direction",
            Self::VectorNorm => "a vector norm",
        })
    }
}

/// Errors of algorithms, vectors and oracles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A watched scalar was NaN or infinite. θ has not been changed.
    #[error("{quantity} is {value}; the parameters were left unchanged")]
    NonFinite {
        /// The scalar that is not finite.
        quantity: Quantity,
        /// The value that was found: NaN, +∞ or −∞.
        value: f64,
    },
    /// Two vectors that must live in the same space do not.
    #[error("{operation}: vectors of dimensions {expected} and {found}")]
    DimensionMismatch {
        /// The operation on the two vectors.
        operation: &'static str,
        /// Dimension of the first operand.
        expected: usize,
        /// Dimension of the second operand.
        found: usize,
    },
    /// A hyper-parameter outside its domain.
    #[error("{name} = {value}: {requirement}")]
    InvalidHyperparameter {
        /// The hyper-parameter's name, as in the paper (`rho`, `alpha`, `learning_rate`, …).
        name: &'static str,
        /// The value that was given.
        value: f64,
        /// The requirement that it does not meet.
        requirement: &'static str,
    },
    /// A setting that a method does not have, or a value that it does not take.
    #[error("{method}: `{key}` = {found}: {requirement}")]
    Setting {
        /// The method's name in recipes.
        method: &'static str,
        /// The key of the setting.
        key: String,
        /// The value that was given, or `nothing`.
        found: String,
        /// The values that would be valid.
        requirement: String,
    },
    /// A named leaf of a checkpoint is missing or does not fit.
    #[error("checkpoint leaf `{name}`: {problem}")]
    CheckpointLeaf {
        /// The leaf's full name.
        name: String,
        /// The value that was expected, and what was found.
        problem: String,
    },
    /// An oracle was asked for something it cannot answer (an empty accumulation, a record of another network, …).
    #[error("oracle: {0}")]
    Oracle(String),
    /// Another rank of a data-parallel computation failed, or this one did and told the others.
    #[error("rank {rank}: {message}")]
    Rank {
        /// The number of the rank that failed.
        rank: usize,
        /// The error of that rank, causes included.
        message: String,
    },
    /// A failure inside a tensor library or another implementor of our traits.
    #[error("{0}")]
    Backend(#[source] Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// Wraps the error of a backend as [`Error::Backend`].
    pub fn backend(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Backend(error.into())
    }
}

/// Checks that two evaluations of single examples answered for equally many.
///
/// # Errors
/// [`Error::Oracle`] with both numbers. The evaluation at θ answers for the whole batch and later ones for a sample, if
/// the regulariser acts on a sample.
pub(crate) fn same_rows(method: &str, here: usize, there: usize) -> Result<()> {
    if here == there {
        return Ok(());
    }
    Err(Error::Oracle(format!(
        "{method}: expected {here} examples as in the evaluation at θ, found {there}; a method over single examples cannot act on a sample"
    )))
}

/// Returns `value` when it is finite, else [`Error::NonFinite`] naming `quantity`.
///
/// # Errors
/// [`Error::NonFinite`] for NaN and infinities.
pub(crate) fn finite(quantity: Quantity, value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NonFinite { quantity, value }) }
}

/// Renames the loss or gradient norm of a non-finite error as one of a perturbed point; other errors pass unchanged.
pub(crate) fn at_perturbed_point(error: Error) -> Error {
    match error {
        Error::NonFinite { quantity: Quantity::Loss, value } => {
            Error::NonFinite { quantity: Quantity::PerturbedLoss, value }
        }
        Error::NonFinite { quantity: Quantity::GradientNorm, value } => {
            Error::NonFinite { quantity: Quantity::PerturbedGradientNorm, value }
        }
        other => other,
    }
}

/// The error of an operation that needs rank `rank`, which has ended because of `why`.
#[cfg(feature = "testing")]
pub(crate) fn gone(rank: usize, why: &str) -> Error {
    Error::Rank { rank, message: why.to_owned() }
}
