//! A point or tangent of the parameter space, wherever its backend keeps it.

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
    /// d, the number of scalar parameters.
    fn dim(&self) -> usize;
    /// `self ← a·self`. `a = 0` gives exact zeros even where `self` is not finite.
    ///
    /// # Errors
    /// A failure of the backend.
    fn scale(&mut self, a: f64) -> Result<()>;
    /// `self ← self + a·x`.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when the dimensions differ, or a failure of the backend.
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()>;
    /// ⟨self, x⟩, accumulated so that it is accurate to a few ulps of the storage precision for 10⁸ elements.
    ///
    /// # Errors
    /// As [`axpy`](Self::axpy). Not an error: a result that is not finite.
    fn dot(&self, x: &Self) -> Result<f64>;
    /// ⟨self, xᵢ⟩ for several vectors. Backends may go through `self` once.
    ///
    /// # Errors
    /// As [`dot`](Self::dot).
    fn dots(&self, xs: &[&Self]) -> Result<Vec<f64>> {
        xs.iter().map(|x| self.dot(x)).collect()
    }
    /// `self ← self + Σ aᵢ·xᵢ`. Backends may go through `self` once, and round once.
    ///
    /// # Errors
    /// As [`axpy`](Self::axpy); [`Error::DimensionMismatch`] when there are not as many factors as vectors.
    fn axpys(&mut self, a: &[f64], xs: &[&Self]) -> Result<()> {
        same_dim("axpys", xs.len(), a.len())?;
        a.iter().zip(xs).try_for_each(|(a, x)| self.axpy(*a, x))
    }
    /// `self ← x + a·self`, with the bits of [`axpy`](Self::axpy) on a copy of x. Backends may do without the copy.
    ///
    /// # Errors
    /// As [`axpy`](Self::axpy).
    fn aypx(&mut self, a: f64, x: &Self) -> Result<()> {
        let mut sum = x.clone();
        sum.axpy(a, self)?;
        *self = sum;
        Ok(())
    }
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

/// Vectors of random signs, for estimates of traces and diagonals.
pub trait Signs: Vector {
    /// A vector of this shape whose elements are 1 or −1, each with probability ½: a pure function of the seed and the
    /// shape.
    ///
    /// # Errors
    /// A failure of the backend.
    fn signs(&self, seed: u64) -> Result<Self>;
}

/// `count` signs of a seed, in order.
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

/// A vector that is a list of leaves (the tensors of a model; the elements of a host vector), of which groups can be
/// treated apart, as [`Grouped`](crate::Grouped) does.
pub trait Partition: Vector {
    /// Number of leaves.
    fn num_leaves(&self) -> usize;
    /// Takes the leaves apart: part g gets those with `group[leaf] == g`, in order. `self` has none until
    /// [`join`](Self::join) gives them back.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when there is not one group a leaf, or a group is not below `parts`; `self` is
    /// unchanged.
    fn split(&mut self, group: &[usize], parts: usize) -> Result<Vec<Self>>;
    /// The inverse: `self` becomes the vector that [`split`](Self::split) would take apart into these parts.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] when the parts do not have the leaves of their groups; `self` is then without
    /// meaning.
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> Result<()>;
}

/// [`Partition::split`] of a list of leaves.
///
/// # Errors
/// As there.
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

/// [`Partition::join`] of lists of leaves.
///
/// # Errors
/// As there.
pub fn join_leaves<T>(group: &[usize], parts: Vec<Vec<T>>) -> Result<Vec<T>> {
    let found = parts.iter().map(Vec::len).sum();
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let leaves: Vec<T> =
        group.iter().filter_map(|&group| parts.get_mut(group).and_then(Iterator::next)).collect();
    same_dim("join", group.len(), leaves.len())?;
    same_dim("join", group.len(), found)?;
    Ok(leaves)
}

/// Two operands of `operation` live in the same space.
pub(crate) fn same_dim(operation: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::DimensionMismatch { operation, expected, found }) }
}
