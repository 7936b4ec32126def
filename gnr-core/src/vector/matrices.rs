//! Vectors whose leaves may be matrices.

use super::{Elementwise, Partition};
use crate::Result;

/// The operations that methods of matrices, such as [`Muon`](crate::optimizer::Muon), need of a vector of one leaf.
///
/// A leaf of two axes or more is the matrix of its first axis by all others, as a convolution's filters are.
pub trait Matrices: Elementwise + Partition {
    /// The numbers of rows and columns of a vector of one leaf that has two axes or more; `None` for any other vector.
    fn matrix(&self) -> Option<[usize; 2]>;
    /// The product XXᵀ where X = self has no more rows than columns, else XᵀX: a square matrix, the smaller of the two.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when self is no matrix; failures of the backend.
    fn gram(&self) -> Result<Self>;
    /// Multiplies with a square matrix: `self ← square·X` where X = self has no more rows than columns, else `self ←
    /// X·square`. The leaf keeps its shape.
    ///
    /// # Errors
    /// The errors of [`gram`](Self::gram), and one when the sides do not fit.
    fn multiply_by(&mut self, square: &Self) -> Result<()>;
}
