//! The only thing this crate knows about a Hessian: it is a symmetric linear operator.

use crate::{Error, Result};
use gnr_core::{Evaluation, GgnOracle, HvpOracle, Vector};

/// A symmetric linear operator on ℝᵈ.
pub trait SymmetricOperator {
    /// Where its operands live.
    type Vector: Vector;
    /// d.
    fn dim(&self) -> usize;
    /// `out ← H·v`.
    ///
    /// # Errors
    /// A dimension mismatch, or a failure of what computes the product.
    fn matvec(&mut self, v: &Self::Vector, out: &mut Self::Vector) -> Result<()>;
    /// `outs[i] ← H·vs[i]`. Worth calling where operands share work: a data set that is evaluated once for all of them.
    ///
    /// # Errors
    /// As [`matvec`](Self::matvec); as many `outs` as `vs` are needed.
    fn matvec_block(&mut self, vs: &[Self::Vector], outs: &mut [Self::Vector]) -> Result<()> {
        if vs.len() != outs.len() {
            let (expected, found) = (vs.len(), outs.len());
            return Err(Error::Core(gnr_core::Error::DimensionMismatch {
                operation: "matvec_block",
                expected,
                found,
            }));
        }
        vs.iter().zip(outs).try_for_each(|(v, out)| self.matvec(v, out))
    }
}

impl<A: SymmetricOperator + ?Sized> SymmetricOperator for &mut A {
    type Vector = A::Vector;
    fn dim(&self) -> usize {
        (**self).dim()
    }
    fn matvec(&mut self, v: &Self::Vector, out: &mut Self::Vector) -> Result<()> {
        (**self).matvec(v, out)
    }
    fn matvec_block(&mut self, vs: &[Self::Vector], outs: &mut [Self::Vector]) -> Result<()> {
        (**self).matvec_block(vs, outs)
    }
}

/// ∇²L̂ at one evaluated point of an oracle.
///
/// Evaluate the point with [`HvpOracle::order_for_products`]: the record is then reused by every product.
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
    fn matvec(&mut self, v: &O::Vector, out: &mut O::Vector) -> Result<()> {
        Ok(self.oracle.hvp(self.here, v, out)?)
    }
    fn matvec_block(&mut self, vs: &[O::Vector], outs: &mut [O::Vector]) -> Result<()> {
        Ok(self.oracle.hvp_block(self.here, vs, outs)?)
    }
}

/// The generalised Gauss–Newton matrix at one evaluated point of an oracle: positive semi-definite for convex losses, and the
/// Fisher information matrix for softmax with cross-entropy.
///
/// # Cost
/// One Gauss–Newton product of the oracle a matvec; no memory of its own.
pub struct GaussNewton<'h, 'p, O: GgnOracle> {
    oracle: &'h mut O,
    here: &'h Evaluation<'p, O::Vector, O::Record>,
}

impl<'h, 'p, O: GgnOracle> GaussNewton<'h, 'p, O> {
    /// The Gauss–Newton matrix at `here.at`.
    pub fn new(oracle: &'h mut O, here: &'h Evaluation<'p, O::Vector, O::Record>) -> Self {
        Self { oracle, here }
    }
}

impl<O: GgnOracle> SymmetricOperator for GaussNewton<'_, '_, O> {
    type Vector = O::Vector;
    fn dim(&self) -> usize {
        self.here.at.dim()
    }
    fn matvec(&mut self, v: &O::Vector, out: &mut O::Vector) -> Result<()> {
        Ok(self.oracle.ggn(self.here, v, out)?)
    }
    fn matvec_block(&mut self, vs: &[O::Vector], outs: &mut [O::Vector]) -> Result<()> {
        Ok(self.oracle.ggn_block(self.here, vs, outs)?)
    }
}

/// Counts the products of `inner` and tells each of them to a listener, which may refuse to go on.
pub struct Observed<A, F> {
    inner: A,
    listener: F,
    num_matvecs: usize,
}

impl<A, F> Observed<A, F> {
    /// Counts from zero. `listener` hears the number of products made so far, after each of them; an error of its own ends
    /// the algorithm.
    pub fn new(inner: A, listener: F) -> Self {
        Self { inner, listener, num_matvecs: 0 }
    }
    /// Products made so far.
    pub fn num_matvecs(&self) -> usize {
        self.num_matvecs
    }
}

impl<A: SymmetricOperator, F: FnMut(usize) -> Result<()>> SymmetricOperator for Observed<A, F> {
    type Vector = A::Vector;
    fn dim(&self) -> usize {
        self.inner.dim()
    }
    fn matvec(&mut self, v: &Self::Vector, out: &mut Self::Vector) -> Result<()> {
        self.inner.matvec(v, out)?;
        self.num_matvecs += 1;
        (self.listener)(self.num_matvecs)
    }
    fn matvec_block(&mut self, vs: &[Self::Vector], outs: &mut [Self::Vector]) -> Result<()> {
        self.inner.matvec_block(vs, outs)?;
        self.num_matvecs += vs.len();
        (self.listener)(self.num_matvecs)
    }
}
