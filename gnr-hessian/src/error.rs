//! Errors of linear operators and of the algorithms that use them.

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of operators and of the algorithms that use them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A failure of a vector or an oracle: dimensions that differ, a value that is not finite, a backend.
    #[error(transparent)]
    Core(#[from] gnr_core::Error),
    /// A start vector without a part that the algorithm could use.
    #[error("start vector {index} is zero, or lies in the span of the {index} eigenvectors found before it")]
    DegenerateStart {
        /// The index of the start vector, from 0.
        index: usize,
    },
    /// Fewer start vectors than eigenpairs asked for.
    #[error("{expected} eigenpairs need as many start vectors; there were {found}")]
    MissingStart {
        /// Number of eigenpairs asked for.
        expected: usize,
        /// Number of start vectors given.
        found: usize,
    },
    /// More eigenpairs asked for than there are.
    #[error("{asked} eigenpairs of an operator of dimension {dim}")]
    TooManyEigenpairs {
        /// Number of eigenpairs asked for.
        asked: usize,
        /// The operator's dimension.
        dim: usize,
    },
    /// Options or a saved state that make no sense.
    #[error("{0}")]
    Configuration(String),
    /// A listener ended the work.
    #[error("stopped after {num_matvecs} matvecs")]
    Stopped {
        /// Number of matvecs that were computed.
        num_matvecs: usize,
    },
    /// Two equal products differ: a mini-batch, a dropout mask or a statistic moves between them.
    #[error(
        "two products with the same vector differ by {difference:e} (of norm {norm:e}): the operator is not deterministic"
    )]
    NotDeterministic {
        /// The norm ‖(Hv)₁ − (Hv)₂‖ of the difference.
        difference: f64,
        /// The norm ‖Hv‖.
        norm: f64,
    },
    /// The forms ⟨u, Hv⟩ and ⟨v, Hu⟩ differ: the operator is not symmetric.
    #[error("⟨u, Hv⟩ = {left} but ⟨v, Hu⟩ = {right}: the operator is not symmetric within {allowed:e}")]
    NotSymmetric {
        /// The form ⟨u, Hv⟩.
        left: f64,
        /// The form ⟨v, Hu⟩.
        right: f64,
        /// The difference that would have been accepted.
        allowed: f64,
    },
}
