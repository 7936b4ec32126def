//! Regularisers change the direction of a step. Each has a file.
//!
//! # Lists
//! A [`Method`](crate::Method) takes one regulariser or several (a `Vec`, a tuple). A list means the sum of its
//! members' gradients: the direction starts as ∇L̂(θ_t), and each member adds its own gradient at θ_t. A member's
//! L̂ is that of the batch, or of the member's sample of the batch. No member sees what another added, so their order
//! changes nothing but the rounding. Each acts on its own steps ([`Every`], [`FromStep`]). The state of member i is
//! saved under `i.`.
//!
//! A member that descends along another gradient h instead of ∇L̂ (SAM and its relatives) adds h − ∇L̂. Therefore
//!
//! - `[base, gnr]` descends along h_loss + α·h_norm of Algorithm 1, where h_loss is the direction of `base` alone: any
//!   regulariser may be the base objective of [`Gnr`] ("SAM + GNR" of the paper's Eq. 10 is `[sam, gnr]`). h_norm is
//!   that of L̂, not of the base objective.
//!
//! Two such members descend along h₁ + h₂ − ∇L̂. That adds up two corrections; neither method sees the other's
//! perturbed point.
//!
//! Members share the gradients that they announce ([`Needs`]): those ahead of θ_t at equal radii are evaluated once.

mod asam;
mod build;
mod c_flat;
mod combine;
mod context;
mod cr_sam;
mod diagonal;
mod esam;
mod every;
mod friendly_sam;
mod from_step;
mod gam;
mod gnr;
mod gsam;
mod keys;
mod look_sam;
mod lookbehind;
mod memory;
mod mesa;
mod msam;
mod on_sample;
mod pgn;
mod saf;
mod sam;
mod sam_on;
mod trajectory;
mod vasso;
mod wsam;

pub use build::{Built, Radius, Run, build};
pub use context::{Ahead, Change, StepContext};
pub use diagonal::HessianDiagonal;
pub use every::Every;
pub use from_step::FromStep;
pub use gam::GamWeights;
pub use memory::Ending;
pub use on_sample::OnSample;

use crate::{
    Elementwise, FullOracle, GradOracle, HvpOracle, Order, Partition, Products, Result, StateSink,
    StateSource,
    registry::{Entry, Registered, Values},
};

/// Exports the regularisers, lists their entries and builds them by name: `file::Type(its type over the vectors V)`.
macro_rules! regularizers {
    ($($file:ident::$name:ident($type:ty)),+ $(,)?) => {
        $(pub use $file::$name;)+

        /// Every regulariser that has a name, in the order of listings.
        pub fn entries() -> &'static [&'static Entry] {
            /// Any type of vectors: the entries do not depend on it.
            type V = Vec<f64>;
            &[$(<$type as Registered>::ENTRY),+]
        }

        /// Any regulariser that has a name, over vectors of type V.
        pub enum AnyRegularizer<V> {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($type),
            )+
        }

        impl<V> AnyRegularizer<V> {
            fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
                $(if values.of() == <$type as Registered>::ENTRY.name {
                    return Ok(Self::$name(<$type as Built>::built(values, run)?));
                })+
                Err(crate::registry::unknown("regularizer", entries(), values.of()))
            }

            /// Whether the regulariser interprets `from_epoch` itself.
            fn watches(&self) -> bool {
                match self {
                    $(Self::$name(_) => <$type as Built>::WATCHES,)+
                }
            }
        }

        impl<V, O> Regularizer<O> for AnyRegularizer<V>
        where
            V: Elementwise + Partition,
            O: FullOracle<Vector = V>,
        {
            fn needs(&self, t: u64, oracle: &O) -> Needs {
                match self {
                    $(Self::$name(inner) => inner.needs(t, oracle),)+
                }
            }
            fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
                match self {
                    $(Self::$name(inner) => inner.add_gradient(cx),)+
                }
            }
            fn end_step(&mut self, ending: Ending) {
                match self {
                    $(Self::$name(inner) => Regularizer::<O>::end_step(inner, ending),)+
                }
            }
            fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
                match self {
                    $(Self::$name(inner) => Regularizer::<O>::save(inner, sink),)+
                }
            }
            fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
                match self {
                    $(Self::$name(inner) => Regularizer::<O>::load(inner, source),)+
                }
            }
        }
    };
}

regularizers! {
    sam::Sam(Sam<Radius>),
    asam::Asam(Asam<Radius>),
    gsam::Gsam(Gsam<Radius>),
    look_sam::LookSam(LookSam<V, Radius>),
    esam::Esam(Esam<Radius>),
    saf::Saf(Saf),
    mesa::Mesa(Mesa<V>),
    pgn::Pgn(Pgn<Radius>),
    wsam::Wsam(Wsam<Radius>),
    friendly_sam::FriendlySam(FriendlySam<V, Radius>),
    gam::Gam(Gam<Radius>),
    msam::Msam(Msam<V, Radius>),
    sam_on::SamOn(SamOn<Radius>),
    lookbehind::Lookbehind(Lookbehind<Radius>),
    cr_sam::CrSam(CrSam<Radius>),
    c_flat::CFlat(CFlat<Radius>),
    vasso::Vasso(Vasso<V, Radius>),
    // GNR comes last in listings, because the others can be its base objective.
    gnr::Gnr(Gnr<Radius>),
}

/// The questions that regularisers will ask in one step, known before the step's own evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The order of the evaluation at θ_t.
    pub order: Order,
    /// Number of products at θ_t: the record is freed in the last of them.
    pub products: usize,
    /// Gradients ahead of θ_t, each as often as it will be asked for.
    pub ahead: Vec<Ahead>,
}

impl Needs {
    /// No needs: ∇L̂(θ_t) is enough.
    pub const NONE: Self = Self { order: Order::First, products: 0, ahead: Vec::new() };

    /// The need of one gradient ahead of θ_t.
    pub fn ahead(ahead: Ahead) -> Self {
        Self { ahead: vec![ahead], ..Self::NONE }
    }

    /// The needs of one call of [`StepContext::norm_gradient`] with this oracle.
    pub fn norm_gradient<O: HvpOracle>(oracle: &O, xi: f64) -> Self {
        match oracle.products() {
            Products::ForwardDifference { step } => Self::ahead(Ahead { radius: step, xi }),
            products => Self { order: products.order(), products: 1, ..Self::NONE },
        }
    }

    /// The sum of both needs.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.order = self.order.max(other.order);
        self.products += other.products;
        self.ahead.extend(other.ahead);
        self
    }
}

/// Measurements of a regulariser in a step, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// The first-order estimate of the regulariser's value R(θ_t), before its coefficient.
    pub value: f64,
    /// The norm of the vector that was added to the direction.
    pub added_norm: f64,
}

/// Changes the direction of a step: `direction += ∇R(θ_t)`.
pub trait Regularizer<O: GradOracle> {
    /// The questions that [`add_gradient`](Self::add_gradient) will ask in step `t`.
    fn needs(&self, t: u64, oracle: &O) -> Needs;

    /// Adds the regulariser's gradient at θ_t to the step's direction. Also adds one [`Penalty`] to the log for each
    /// regulariser that acted.
    ///
    /// # Errors
    /// The errors of the oracle; [`Error::NonFinite`](crate::Error::NonFinite), which names the quantity that is not
    /// finite.
    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()>;

    /// Ends the step: state that this step made is kept, or discarded where the step failed. [`Method`](crate::Method)
    /// calls it after every step.
    fn end_step(&mut self, ending: Ending) {
        let _ = ending;
    }

    /// Writes the regulariser's state. Most regularisers have none.
    ///
    /// # Errors
    /// The errors of the sink.
    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        let _ = sink;
        Ok(())
    }

    /// Replaces the regulariser's state. On an error `self` is unchanged.
    ///
    /// # Errors
    /// [`Error::CheckpointLeaf`](crate::Error::CheckpointLeaf) for a leaf that does not fit.
    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        let _ = source;
        Ok(())
    }
}
