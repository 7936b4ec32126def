//! The errors of figures.

/// The result of every fallible operation of this crate.
pub type Result<T, E = PlotError> = std::result::Result<T, E>;

/// Errors of figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Data that cannot be drawn.
    #[error("{panel}: {problem}")]
    Data {
        /// The panel's title or number.
        panel: String,
        /// The data that were expected, and those that were found.
        problem: String,
    },
    /// A figure without panels.
    #[error("a figure without panels")]
    Empty,
    /// A failure of the drawing library.
    #[error("cannot draw: {0}")]
    Drawing(String),
}
