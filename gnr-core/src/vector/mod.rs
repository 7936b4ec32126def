//! A point or tangent of the parameter space, wherever its backend keeps it.

#[cfg(feature = "ndarray")]
mod array;
mod host;

pub use host::Real;

use crate::{Error, Quantity, Result};

/// A point θ or a tangent v: an element of ℝᵈ that lives wherever the backend keeps it.
///
/// Only f64 scalars cross to the host ([`dot`](Self::dot), [`norm`](Self::norm)); everything else may stay on a device.
/// Implementations may store any precision.
pub trait Vector: Clone {
    /// d, the number of scalar parameters.
    fn dim(&self) -> usize;
    /// `self ← src`.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when the dimensions differ, or a failure of the backend.
    fn copy_from(&mut self, src: &Self) -> Result<()>;
    /// `self ← a·self`. `a = 0` gives exact zeros even where `self` is not finite.
    ///
    /// # Errors
    /// A failure of the backend.
    fn scale(&mut self, a: f64) -> Result<()>;
    /// `self ← self + a·x`.
    ///
    /// # Errors
    /// As [`copy_from`](Self::copy_from).
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()>;
    /// ⟨self, x⟩, accumulated so that it is accurate to a few ulps of the storage precision for 10⁸ elements.
    ///
    /// # Errors
    /// As [`copy_from`](Self::copy_from). Not an error: a result that is not finite.
    fn dot(&self, x: &Self) -> Result<f64>;
    /// ‖self‖₂.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when the norm is NaN or infinite.
    fn norm(&self) -> Result<f64> {
        let squared = self.dot(self)?;
        if squared.is_finite() {
            Ok(squared.sqrt())
        } else {
            Err(Error::NonFinite { quantity: Quantity::VectorNorm, value: squared })
        }
    }
}

/// Elementwise arithmetic, which adaptive optimisers and masks need beyond a vector space. Backends may fuse.
pub trait Elementwise: Vector {
    /// `self ← self + a·(x ⊙ y)`.
    ///
    /// # Errors
    /// As [`Vector::copy_from`].
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()>;
    /// `self ← self + a·x ⊘ (√(b·y) + eps)`: the update of the Adam family, with `b` its bias correction of the second moment.
    ///
    /// # Errors
    /// As [`Vector::copy_from`].
    fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> Result<()>;
}

/// Two operands of `operation` live in the same space.
pub(crate) fn same_dim(operation: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::DimensionMismatch { operation, expected, found }) }
}
