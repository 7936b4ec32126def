//! Neural networks written once over a small [`Backend`] trait, with exact Hessian-vector products.
//!
//! A [`Model`] evaluated on a backend's tensors gives logits; evaluated on [`Duals`] of that backend it also gives their
//! directional derivative, and one reverse pass through *that* gives H·v exactly. So every first-order reverse-mode tensor
//! library that implements [`Autodiff`] becomes a second-order one. [`BatchOracle`] packs a model and one mini-batch into
//! the oracle that `gnr-core`'s algorithms ask.

mod autodiff;
mod backend;
pub mod composed;
mod context;
mod dual;
mod error;
mod init;
pub mod layers;
mod layout;
mod model;
mod oracle;
mod record;
#[cfg(feature = "testing")]
pub mod testing;
mod vector;

pub use autodiff::Autodiff;
pub use backend::{Backend, BatchStats, Conv2dSpec, Fused, PoolSpec, Unary};
pub use context::{Buffers, Context, Mode};
pub use dual::{Dual, Duals};
pub use error::{Error, Result};
pub use init::Init;
pub use layout::{BufferId, Entry, Layout, ParamId, Role, Scope};
pub use model::Model;
pub use oracle::{Batch, BatchOracle, CrossEntropy, predict};
pub use record::{Recorded, Records};
pub use vector::ParamVector;
