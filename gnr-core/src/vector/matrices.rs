//! Vectors whose leaves may be matrices.

use super::{Elementwise, Partition};
use crate::Result;

/// What methods of matrices, such as [`Muon`](crate::optimizer::Muon), need of a vector that is a single leaf.
///
/// A leaf of two axes or more is the matrix of its first axis by all others, as a convolution's filters are.
pub trait Matrices: Elementwise + Partition {
    /// Rows and columns of a vector of one leaf that has two axes or more; `None` for any other vector.
    fn matrix(&self) -> Option<[usize; 2]>;
    /// XXᵀ where X = self has no more rows than columns, else XᵀX: the smaller of the two, a square matrix.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when self is no matrix, and failures of the backend.
    fn gram(&self) -> Result<Self>;
    /// `self ← square·X` where X = self has no more rows than columns, else `self ← X·square`. The leaf keeps its
    /// shape.
    ///
    /// # Errors
    /// As [`gram`](Self::gram), and when the sides do not fit.
    fn multiply_by(&mut self, square: &Self) -> Result<()>;
}
