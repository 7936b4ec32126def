//! A Hessian as a symmetric linear operator, which is all that this crate knows about it.

use crate::Result;
use gnr_core::{Evaluation, HvpOracle, Use, Vector};

/// A symmetric linear operator on ℝᵈ.
pub trait SymmetricOperator {
    /// The type of the vectors that the operator multiplies.
    type Vector: Vector;
    /// The dimension d.
    fn dim(&self) -> usize;
    /// Multiplies v with the operator: H·v.
    ///
    /// # Errors
    /// A dimension mismatch, or a failure of what computes the product.
    fn matvec(&mut self, v: &Self::Vector) -> Result<Self::Vector>;
    /// Multiplies each of several vectors, in order. An operator may share work between them, such as one evaluation of
    /// a data set.
    ///
    /// # Errors
    /// The errors of [`matvec`](Self::matvec).
    fn matvec_block(&mut self, vs: &[Self::Vector]) -> Result<Vec<Self::Vector>> {
        vs.iter().map(|v| self.matvec(v)).collect()
    }
}

impl<A: SymmetricOperator + ?Sized> SymmetricOperator for &mut A {
    type Vector = A::Vector;
    fn dim(&self) -> usize {
        (**self).dim()
    }
    fn matvec(&mut self, v: &Self::Vector) -> Result<Self::Vector> {
        (**self).matvec(v)
    }
    fn matvec_block(&mut self, vs: &[Self::Vector]) -> Result<Vec<Self::Vector>> {
        (**self).matvec_block(vs)
    }
}

/// The Hessian ∇²L̂ at one evaluated point of an oracle, or the matrix that the oracle multiplies with in its
/// place. With [`Products::GaussNewton`](gnr_core::Products::GaussNewton) this is the generalised Gauss–Newton
/// matrix. It is positive semi-definite for convex losses, and the Fisher information matrix for softmax with
/// cross-entropy.
///
/// Evaluate the point with the [`order`](gnr_core::Products::order) of the oracle's products: the record is then reused
/// by every product.
///
/// # Cost
/// One product of the oracle a matvec; no memory of its own.
pub struct Hessian<'h, 'p, O: HvpOracle> {
    oracle: &'h mut O,
    here: &'h Evaluation<'p, O::Vector, O::Record>,
}

impl<'h, 'p, O: HvpOracle> Hessian<'h, 'p, O> {
    /// The Hessian at `here.at`.
    pub fn new(oracle: &'h mut O, here: &'h Evaluation<'p, O::Vector, O::Record>) -> Self {
        Self { oracle, here }
    }
}

impl<O: HvpOracle> SymmetricOperator for Hessian<'_, '_, O> {
    type Vector = O::Vector;
    fn dim(&self) -> usize {
        self.here.at.dim()
    }
    fn matvec(&mut self, v: &O::Vector) -> Result<O::Vector> {
        Ok(self.oracle.hvp(self.here, v, Use::Again)?)
    }
    fn matvec_block(&mut self, vs: &[O::Vector]) -> Result<Vec<O::Vector>> {
        Ok(self.oracle.hvp_block(self.here, vs)?)
    }
}

/// Counts the products of `inner` and reports the count to a listener, which may refuse to go on.
pub struct Observed<A, F> {
    inner: A,
    listener: F,
    num_matvecs: usize,
}

impl<A, F> Observed<A, F> {
    /// Counts from zero. `listener` gets the number of products made so far, after each product or block of products.
    /// An error that it returns ends the algorithm.
    pub fn new(inner: A, listener: F) -> Self {
        Self { inner, listener, num_matvecs: 0 }
    }
    /// Number of products made so far.
    pub fn num_matvecs(&self) -> usize {
        self.num_matvecs
    }
}

impl<A: SymmetricOperator, F: FnMut(usize) -> Result<()>> SymmetricOperator for Observed<A, F> {
    type Vector = A::Vector;
    fn dim(&self) -> usize {
        self.inner.dim()
    }
    fn matvec(&mut self, v: &Self::Vector) -> Result<Self::Vector> {
        let product = self.inner.matvec(v)?;
        self.num_matvecs += 1;
        (self.listener)(self.num_matvecs)?;
        Ok(product)
    }
    fn matvec_block(&mut self, vs: &[Self::Vector]) -> Result<Vec<Self::Vector>> {
        let products = self.inner.matvec_block(vs)?;
        self.num_matvecs += vs.len();
        (self.listener)(self.num_matvecs)?;
        Ok(products)
    }
}
