//! Points and tangents of the parameter space, wherever their backend keeps them.

#[cfg(feature = "ndarray")]
mod array;
mod elementwise;
mod host;
mod matrices;

pub use elementwise::{Elementwise, Map};
pub use host::Real;
pub use matrices::Matrices;

use crate::{Error, Quantity, Result};

/// A point θ or a tangent v: an element of ℝᵈ that lives wherever the backend keeps it.
///
/// Only f64 scalars cross to the host ([`dot`](Self::dot), [`norm`](Self::norm)); everything else may stay on a device.
/// Implementations may store any precision.
pub trait Vector: Clone {
    /// The dimension d, the number of scalar parameters.
    fn dim(&self) -> usize;
    /// Multiplies with a number: `self ← a·self`. `a = 0` gives exact zeros even where `self` is not finite.
    ///
    /// # Errors
    /// A failure of the backend.
    fn scale(&mut self, a: f64) -> Result<()>;
    /// Adds a multiple of a vector: `self ← self + a·x`.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when the dimensions differ, or a failure of the backend.
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()>;
    /// The dot product ⟨self, x⟩, accurate to a few ulps of the storage precision for 10⁸ elements.
    ///
    /// # Errors
    /// The errors of [`axpy`](Self::axpy). A result that is not finite is no error.
    fn dot(&self, x: &Self) -> Result<f64>;
    /// The dot products ⟨self, xᵢ⟩ with several vectors. Backends may make one pass over `self`.
    ///
    /// # Errors
    /// The errors of [`dot`](Self::dot).
    fn dots(&self, xs: &[&Self]) -> Result<Vec<f64>> {
        xs.iter().map(|x| self.dot(x)).collect()
    }
    /// Adds multiples of several vectors: `self ← self + Σ aᵢ·xᵢ`. Backends may make one pass over `self`, and round
    /// once.
    ///
    /// # Errors
    /// The errors of [`axpy`](Self::axpy); [`Error::DimensionMismatch`] when there are not as many factors as vectors.
    fn axpys(&mut self, a: &[f64], xs: &[&Self]) -> Result<()> {
        same_dim("axpys", xs.len(), a.len())?;
        a.iter().zip(xs).try_for_each(|(a, x)| self.axpy(*a, x))
    }
    /// Computes `self ← x + a·self`, with the bits of [`axpy`](Self::axpy) on a copy of x. Backends may do without the
    /// copy.
    ///
    /// # Errors
    /// The errors of [`axpy`](Self::axpy).
    fn aypx(&mut self, a: f64, x: &Self) -> Result<()> {
        let mut sum = x.clone();
        sum.axpy(a, self)?;
        *self = sum;
        Ok(())
    }
    /// The Euclidean norm ‖self‖₂.
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

/// Vectors of random signs, for estimates of traces and diagonals.
pub trait Signs: Vector {
    /// A vector of this shape whose elements are 1 or −1, each with probability ½. Its elements are a pure function of
    /// the seed and the shape.
    ///
    /// # Errors
    /// A failure of the backend.
    fn signs(&self, seed: u64) -> Result<Self>;
}

/// The first `count` signs of a seed, in order.
pub fn random_signs(count: usize, seed: u64) -> Vec<f32> {
    let mut random = crate::random::SplitMix64::new(seed);
    let mut signs = Vec::with_capacity(count.next_multiple_of(64));
    while signs.len() < count {
        let bits = random.next_u64();
        signs.extend((0..64).map(|bit| if bits >> bit & 1 == 1 { 1.0 } else { -1.0 }));
    }
    signs.truncate(count);
    signs
}

/// A vector that is a list of leaves: the tensors of a model, or the elements of a host vector. Groups of leaves can be
/// moved into vectors of their own, as [`Grouped`](crate::Grouped) does.
pub trait Partition: Vector {
    /// The number of leaves.
    fn num_leaves(&self) -> usize;
    /// Moves the leaves into `parts` vectors: part g gets those with `group[leaf] == g`, in order. `self` has no leaves
    /// until [`join`](Self::join) gives them back.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] unless there is one group a leaf, and every group is below `parts`. `self` is then
    /// unchanged.
    fn split(&mut self, group: &[usize], parts: usize) -> Result<Vec<Self>>;
    /// Inverts [`split`](Self::split): `self` becomes the vector that `split` would take apart into these parts.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when the parts do not have the leaves of their groups. `self` is then without
    /// meaning.
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> Result<()>;
}

/// Implements [`Partition::split`] for a list of leaves.
///
/// # Errors
/// The errors of [`Partition::split`].
pub fn split_leaves<T>(leaves: &mut Vec<T>, group: &[usize], parts: usize) -> Result<Vec<Vec<T>>> {
    same_dim("split", leaves.len(), group.len())?;
    if let Some(&beyond) = group.iter().find(|group| **group >= parts) {
        return Err(Error::DimensionMismatch { operation: "split", expected: parts, found: beyond + 1 });
    }
    let mut split: Vec<Vec<T>> = (0..parts).map(|_| Vec::new()).collect();
    for (leaf, &group) in std::mem::take(leaves).into_iter().zip(group) {
        split[group].push(leaf);
    }
    Ok(split)
}

/// Implements [`Partition::join`] for lists of leaves.
///
/// # Errors
/// The errors of [`Partition::join`].
pub fn join_leaves<T>(group: &[usize], parts: Vec<Vec<T>>) -> Result<Vec<T>> {
    let found = parts.iter().map(Vec::len).sum();
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let leaves: Vec<T> =
        group.iter().filter_map(|&group| parts.get_mut(group).and_then(Iterator::next)).collect();
    same_dim("join", group.len(), leaves.len())?;
    same_dim("join", group.len(), found)?;
    Ok(leaves)
}

/// Checks that the two operands of `operation` have one dimension.
pub(crate) fn same_dim(operation: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::DimensionMismatch { operation, expected, found }) }
}
