//! What an algorithm may ask about ONE frozen mini-batch.

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

/// Whether an evaluation is the step's own, or a look at another point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// At θ_t, exactly once a step: BatchNorm running statistics move.
    Commit,
    /// Anywhere, any number of times: nothing but the answer changes.
    Probe,
}

/// How much of the evaluation will be used. `First < Second`: the larger of two serves both.
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
    /// Others will follow: the record stays.
    Again,
    /// No other will be asked for: what the record holds may be freed while the product goes through it. One that is
    /// asked for all the same must still be right, at the cost of another evaluation.
    Last,
}

/// What an oracle's products are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Products {
    /// ∇²L̂·v, to rounding.
    Exact,
    /// G·v with the generalised Gauss–Newton matrix G in place of the Hessian: mean over the batch of Jᵀ·∇²ℓ·J, J the
    /// Jacobian of the model's outputs and ∇²ℓ the Hessian of the loss in them. Positive semi-definite where ℓ is
    /// convex; for softmax with cross-entropy the Fisher information matrix (labels drawn from the model, not the
    /// empirical one). What it leaves out of the Hessian is Σₖ ∂ℓ/∂zₖ·∇²zₖ over the outputs z: nothing where the model
    /// is linear in θ or every example is fitted.
    ///
    /// # References
    /// Schraudolph, "Fast curvature matrix-vector products", Neural Computation 2002; Martens, JMLR 2020, Section 8.
    GaussNewton,
    /// (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ))·‖v‖/ε: see [`ForwardDiff`](crate::ForwardDiff). [`Gnr`](crate::Gnr) shares the
    /// gradient at θ + ε ĝ with others that look at the same point.
    ForwardDifference {
        /// ε.
        step: f64,
    },
    /// (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ − ε v/‖v‖))·‖v‖/(2ε): see [`CentralDiff`](crate::CentralDiff).
    CentralDifference {
        /// ε.
        step: f64,
    },
}

impl Products {
    /// How a point must be evaluated for cheap products: differences of gradients need no record.
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
    /// Points and tangents.
    type Vector: Vector;
    /// What an evaluation keeps so that products at its point are cheap.
    type Record;

    /// L̂ and ∇L̂ at a point.
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

    /// ∇L̂ at a point of which nothing else is wanted, a [`Pass::Probe`]: the point may be freed piece by piece while
    /// the gradient takes its place.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    ///
    /// # Cost
    /// One gradient.
    fn gradient(&mut self, at: Self::Vector) -> Result<Self::Vector> {
        Ok(self.evaluate(&at, Pass::Probe, Order::First)?.grad)
    }

    /// L̂ at a point, a [`Pass::Probe`]; what landscapes are made of.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), but a gradient that is not finite may go unnoticed.
    ///
    /// # Cost
    /// One gradient, unless the implementation knows how to do without (a forward pass: a third of it).
    fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
        Ok(self.evaluate(at, Pass::Probe, Order::First)?.loss)
    }
}

/// A [`GradOracle`] that also multiplies with the Hessian of L̂, or with what stands for it ([`Products`]).
pub trait HvpOracle: GradOracle {
    /// What the products are. The same for the life of the oracle.
    fn products(&self) -> Products {
        Products::Exact
    }

    /// ∇²L̂(here.at)·v, any number of times for one evaluation. Never moves running statistics.
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

    /// `∇²L̂(here.at)·vs[i]` for several vectors at once.
    ///
    /// # Errors
    /// As [`hvp`](Self::hvp).
    ///
    /// # Cost
    /// As many products. An oracle that must evaluate again for every product does so once for all of them.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        vs: &[Self::Vector],
    ) -> Result<Vec<Self::Vector>> {
        vs.iter().map(|v| self.hvp(here, v, Use::Again)).collect()
    }

    /// ∇²L̂·∇L̂ at a point of which nothing else is wanted any more: record, gradient and, where the evaluation owns
    /// it, the point may be freed piece by piece while the product takes their place.
    ///
    /// # Errors
    /// As [`hvp`](Self::hvp).
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        self.hvp(&here, &here.grad, Use::Last)
    }
}
