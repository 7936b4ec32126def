//! The generalised Gauss–Newton matrix in place of the Hessian.

use crate::{Evaluation, GgnOracle, GradOracle, HvpOracle, Order, Pass, Result, Sample};

/// Makes an [`HvpOracle`] of any [`GgnOracle`]: its product is G·v with G = mean of Jᵀ·∇²ℓ·J, not ∇²L̂·v.
///
/// [`Gnr`](crate::Gnr) over it is Algorithm 1 with G in lines 6 and 8. G leaves out what the curvature of the model adds to the
/// Hessian, the mean of Σₖ ∂ℓ/∂zₖ·∇²zₖ over the outputs z. Where the model is linear in θ, or every example is fitted
/// (∂ℓ/∂z = 0), G is H, and the method is the exact one. Elsewhere it is another method: its f is not the gradient of ‖∇L̂‖.
/// vᵀGv is never negative for a convex ℓ.
///
/// Loss, gradient and what is restricted are the inner oracle's.
///
/// # Cost
/// One Gauss–Newton product of the inner oracle a product: one tangent pass and one plain backward pass, less than a
/// Hessian-vector product, whose backward pass also carries the tangents. Points are evaluated with [`Order::Second`], as for
/// exact products, and the record is as large. The last product at a point frees it ([`GgnOracle::last_ggn`]).
///
/// # References
/// Schraudolph, "Fast curvature matrix-vector products", Neural Computation 2002.
#[derive(Clone, Debug)]
pub struct GaussNewton<O> {
    inner: O,
}

impl<O> GaussNewton<O> {
    /// Gauss–Newton products for Hessian-vector products.
    pub fn new(inner: O) -> Self {
        Self { inner }
    }

    /// The wrapped oracle.
    pub fn into_inner(self) -> O {
        self.inner
    }
}

impl<O: GradOracle> GradOracle for GaussNewton<O> {
    type Vector = O::Vector;
    type Record = O::Record;

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
        self.inner.evaluate(at, pass, order)
    }

    fn gradient_at(&mut self, at: O::Vector) -> Result<O::Vector> {
        self.inner.gradient_at(at)
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.inner.loss(at)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
    }
}

impl<O: GgnOracle> HvpOracle for GaussNewton<O> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.inner.ggn(here, v, out)
    }

    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        self.inner.ggn_block(here, vs, outs)
    }

    fn last_hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.inner.last_ggn(here, v, out)
    }

    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        self.inner.ggn_of_gradient(here)
    }
}

impl<O: GgnOracle> GgnOracle for GaussNewton<O> {
    fn ggn(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.inner.ggn(here, v, out)
    }

    fn ggn_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        self.inner.ggn_block(here, vs, outs)
    }

    fn last_ggn(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.inner.last_ggn(here, v, out)
    }

    fn ggn_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        self.inner.ggn_of_gradient(here)
    }
}
