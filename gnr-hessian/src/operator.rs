//! The only thing this crate knows about a Hessian: it is a symmetric linear operator.

use crate::Result;
use gnr_core::{Evaluation, HvpOracle, Vector};

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
}

impl<A: SymmetricOperator + ?Sized> SymmetricOperator for &mut A {
    type Vector = A::Vector;
    fn dim(&self) -> usize {
        (**self).dim()
    }
    fn matvec(&mut self, v: &Self::Vector, out: &mut Self::Vector) -> Result<()> {
        (**self).matvec(v, out)
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
}
