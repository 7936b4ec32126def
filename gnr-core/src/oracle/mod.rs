//! The questions that an algorithm may ask about ONE frozen mini-batch.

mod evaluation;
mod examples;
mod pointer;
mod sample;

pub use evaluation::{Evaluation, NormGradient, finite_gradient};
pub use examples::{
    ExampleOracle, FullOracle, OutputOracle, Outputs, Point, checked_share, nothing_committed,
};
pub use sample::{Sample, SampledOracle};

use crate::{Result, Vector};

/// Whether an evaluation is the step's own, or a probe of another point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The evaluation at θ_t, exactly once a step: BatchNorm running statistics move.
    Commit,
    /// A probe of any point, any number of times: the oracle does not change.
    Probe,
}

/// The highest order of derivatives that will be asked for. `First < Second`: the larger of two serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Loss and gradient only.
    First,
    /// Products at this point will follow: keep what makes them cheap.
    Second,
}

/// Whether a product is the last one at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Others will follow: the record must stay.
    Again,
    /// No other will be asked for: the record may be freed piece by piece during the product. A further product must
    /// still be right, at the cost of another evaluation.
    Last,
}

/// The matrix that an oracle's products multiply with, or the differences that approximate them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Products {
    /// ∇²L̂·v, to rounding.
    Exact,
    /// G·v with the generalised Gauss–Newton matrix G in place of the Hessian: mean over the batch of Jᵀ·∇²ℓ·J. J is
    /// the Jacobian of the model's outputs, ∇²ℓ the Hessian of the loss in them.
    ///
    /// G is positive semi-definite where ℓ is convex. For softmax with cross-entropy it is the Fisher information
    /// matrix (labels drawn from the model, not the empirical one). What G leaves out of the Hessian is Σₖ ∂ℓ/∂zₖ·∇²zₖ
    /// over the outputs z: nothing where the model is linear in θ or every example is fitted.
    ///
    /// # References
    /// Schraudolph, "Fast curvature matrix-vector products", Neural Computation 2002; Martens, JMLR 2020, Section 8.
    GaussNewton,
    /// One-sided differences (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ))·‖v‖/ε: see [`ForwardDiff`](crate::ForwardDiff).
    /// [`Gnr`](crate::Gnr) shares the gradient at θ + ε ĝ with regularisers that look at that point.
    ForwardDifference {
        /// The norm ε of the perturbation.
        step: f64,
    },
    /// Central differences (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ − ε v/‖v‖))·‖v‖/(2ε): see [`CentralDiff`](crate::CentralDiff).
    CentralDifference {
        /// The norm ε of the perturbation.
        step: f64,
    },
}

impl Products {
    /// The order of evaluation that makes products cheap: differences of gradients need no record.
    pub fn order(self) -> Order {
        match self {
            Self::Exact | Self::GaussNewton => Order::Second,
            Self::ForwardDifference { .. } | Self::CentralDifference { .. } => Order::First,
        }
    }
}

/// One frozen mini-batch (and dropout seed) that answers first-order questions at any point.
///
/// Points are arguments: no implementation may perturb parameters in place, so a failing step leaves θ untouched.
pub trait GradOracle {
    /// The type of points and tangents.
    type Vector: Vector;
    /// The part of an evaluation that makes products at its point cheap.
    type Record;

    /// Evaluates L̂ and ∇L̂ at a point.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a loss or gradient that is not; a failure of the backend.
    ///
    /// # Cost
    /// One gradient; with [`Order::Second`] also the memory of the record.
    fn evaluate<'a>(
        &mut self,
        at: &'a Self::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Self::Vector, Self::Record>>;

    /// Computes ∇L̂ alone at a point, by a [`Pass::Probe`]. Consumes the point, which may be freed piece by piece while
    /// the gradient takes its place.
    ///
    /// # Errors
    /// The errors of [`evaluate`](Self::evaluate).
    ///
    /// # Cost
    /// One gradient.
    fn gradient(&mut self, at: Self::Vector) -> Result<Self::Vector> {
        Ok(self.evaluate(&at, Pass::Probe, Order::First)?.grad)
    }

    /// Computes L̂ at a point, by a [`Pass::Probe`]. Landscapes of the loss are made of it.
    ///
    /// # Errors
    /// The errors of [`evaluate`](Self::evaluate), but a gradient that is not finite may go unnoticed.
    ///
    /// # Cost
    /// One gradient, or a forward pass (a third of a gradient) if the implementation has a loss of its own.
    fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
        Ok(self.evaluate(at, Pass::Probe, Order::First)?.loss)
    }
}

/// A [`GradOracle`] that also multiplies with the Hessian of L̂, or with the substitute that [`Products`] names.
pub trait HvpOracle: GradOracle {
    /// The kind of the products. An oracle never changes it.
    fn products(&self) -> Products {
        Products::Exact
    }

    /// Multiplies v with the Hessian: ∇²L̂(here.at)·v, any number of times for one evaluation. Never moves running
    /// statistics.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    ///
    /// # Cost
    /// About two gradients when `here` was evaluated with the [`order`](Products::order) of the products; an
    /// implementation may have to evaluate once more when it was not, or after [`Use::Last`].
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        record: Use,
    ) -> Result<Self::Vector>;

    /// Multiplies each of several vectors with the Hessian: `∇²L̂(here.at)·vs[i]`.
    ///
    /// # Errors
    /// The errors of [`hvp`](Self::hvp).
    ///
    /// # Cost
    /// The cost of one product for each vector. An oracle that must evaluate again for a product does so once for all
    /// of them.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        vs: &[Self::Vector],
    ) -> Result<Vec<Self::Vector>> {
        vs.iter().map(|v| self.hvp(here, v, Use::Again)).collect()
    }

    /// Computes ∇²L̂·∇L̂ and consumes the evaluation. Record, gradient and, where the evaluation owns it, the point may
    /// be freed piece by piece while the product takes their place.
    ///
    /// # Errors
    /// The errors of [`hvp`](Self::hvp).
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        self.hvp(&here, &here.grad, Use::Last)
    }
}
