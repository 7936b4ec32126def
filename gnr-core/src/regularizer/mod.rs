//! Regularisers: what changes the direction of a step. One file each.

mod combine;
mod context;
mod every;
mod from_step;
mod gnr;
mod on_sample;
mod sam;

pub use context::{Ahead, StepContext};
pub use every::Every;
pub use from_step::FromStep;
pub use gnr::Gnr;
pub use on_sample::OnSample;
pub use sam::Sam;

use crate::{GradOracle, HvpOracle, Order, Products, Result, StateSink, StateSource};

/// What regularisers will ask for in one step, known before the step's own evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// With which order θ_t is to be evaluated.
    pub order: Order,
    /// Products at θ_t: the record is freed in the last of them.
    pub products: usize,
    /// Gradients ahead of θ_t, each once for every time that it will be asked for.
    pub ahead: Vec<Ahead>,
}

impl Needs {
    /// None: ∇L̂(θ_t) is enough.
    pub const NONE: Self = Self { order: Order::First, products: 0, ahead: Vec::new() };

    /// A gradient ahead of θ_t.
    pub fn ahead(ahead: Ahead) -> Self {
        Self { ahead: vec![ahead], ..Self::NONE }
    }

    /// What [`StepContext::norm_gradient`] takes of this oracle.
    pub fn norm_gradient<O: HvpOracle>(oracle: &O, xi: f64) -> Self {
        match oracle.products() {
            Products::ForwardDifference { step } => Self::ahead(Ahead { radius: step, xi }),
            products => Self { order: products.order(), products: 1, ..Self::NONE },
        }
    }

    /// The needs of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.order = self.order.max(other.order);
        self.products += other.products;
        self.ahead.extend(other.ahead);
        self
    }
}

/// What a regulariser learnt in a step, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// The first-order estimate of the regulariser's value R(θ_t), before its coefficient.
    pub value: f64,
    /// The norm of what was added to the direction.
    pub added_norm: f64,
}

/// Changes the direction of a step: `direction += ∇R(θ_t)`.
pub trait Regularizer<O: GradOracle> {
    /// What [`add_gradient`](Self::add_gradient) will ask for in this step.
    fn needs(&self, t: u64, oracle: &O) -> Needs;

    /// Adds the regulariser's gradient at θ_t to the step's direction, and one [`Penalty`] to its log for each regulariser that
    /// acted.
    ///
    /// # Errors
    /// Those of the oracle; [`Error::NonFinite`](crate::Error::NonFinite) naming the norm that is not.
    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()>;

    /// Writes what the regulariser remembers from step to step: nothing, for most.
    ///
    /// # Errors
    /// Those of the sink.
    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        let _ = sink;
        Ok(())
    }

    /// Replaces what the regulariser remembers. On an error `self` is unchanged.
    ///
    /// # Errors
    /// [`Error::CheckpointLeaf`](crate::Error::CheckpointLeaf) for a leaf that does not fit.
    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        let _ = source;
        Ok(())
    }
}
