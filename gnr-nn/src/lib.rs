//! Neural networks written once over a small [`Backend`] trait, with exact Hessian-vector products.
//!
//! Run a loss at θ + εv on dual numbers; its tangent is ⟨∇L̂(θ), v⟩, and the gradient of that is H·v, exactly:
//!
//! ```
//! use gnr_nn::{Arithmetic, Autodiff, Dual, Duals, Result, testing::Reference};
//!
//! # fn main() -> Result<()> {
//! let backend = Reference::new(); // any tensor library that differentiates once
//! let theta = backend.constant(&[1.0, 2.0, 3.0], &[3])?;
//! let v = backend.constant(&[1.0, 1.0, -1.0], &[3])?;
//!
//! let tape = backend.gradient_session(false);
//! let leaf = tape.variable(&theta)?;
//! let (b, x) = (Duals(tape.clone()), Dual { primal: leaf.clone(), tangent: Some(v) });
//! let loss = b.sum(&b.mul(&x, &b.mul(&x, &x)?)?, &[0])?; // L̂ = Σ θ³
//! let slope = loss.tangent.expect("the loss depends on θ"); // ⟨∇L̂, v⟩ = Σ 3θ²v
//! let product = tape.backward(&slope, vec![leaf])?; // H·v = 6θ ⊙ v
//! assert_eq!(backend.to_host(&product[0])?, [6.0, 12.0, -18.0]);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Model`] is written once over [`Backend`]. On a backend's tensors it gives logits, on [`Duals`] of that backend
//! also their directional derivative. So every first-order reverse-mode tensor library that implements [`Autodiff`]
//! becomes a second-order one. [`BatchOracle`] makes of a model and one mini-batch the oracle that `gnr-core`'s
//! algorithms ask.
//!
//! A model declares its tensors through its layers and says how it runs, once for every backend:
//!
//! ```
//! use std::cell::RefCell;
//!
//! use gnr_core::{Clip, Gnr, Method, Sgd};
//! use gnr_nn::{Autodiff, Backend, Batch, BatchOracle, Buffers, Context, Conv2dSpec, Layout, Model, ParamVector};
//! use gnr_nn::layers::{BatchNorm2d, Conv2d, Linear};
//!
//! struct Net { layout: Layout, conv: Conv2d, bn: BatchNorm2d, fc: Linear }
//!
//! impl Net {
//!     fn new(classes: usize) -> Self {
//!         let mut layout = Layout::new();
//!         let mut root = layout.root();
//!         let spec = Conv2dSpec { stride: 1, padding: 1.into(), groups: 1 };
//!         let conv = Conv2d::new(&mut root.enter("conv"), 1, 4, 3, spec); // 1 channel → 4, 3×3
//!         let bn = BatchNorm2d::new(&mut root.enter("bn"), 4);
//!         let fc = Linear::new(&mut root.enter("fc"), 4, classes);
//!         Self { layout, conv, bn, fc }
//!     }
//! }
//!
//! impl Model for Net {
//!     fn layout(&self) -> &Layout {
//!         &self.layout
//!     }
//!     fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> gnr_nn::Result<B::Tensor> {
//!         let x = self.conv.forward(cx, x)?;
//!         let x = self.bn.forward_relu(cx, &x)?;
//!         self.fc.forward(cx, &cx.backend.global_avg_pool(&x)?)
//!     }
//! }
//!
//! // Any backend will do; this one, of feature `testing`, is the slow and simple one.
//! let backend = gnr_nn::testing::Reference::new();
//! let net = Net::new(2);
//! let mut theta = ParamVector::initial(&backend, net.layout(), 0)?;
//! let buffers = RefCell::new(Buffers::initial(net.layout(), &backend)?);
//! let pixels: Vec<f32> = (0..2 * 16).map(|i| (i as f32).sin()).collect();
//! let batch = Batch::new(backend.upload(&pixels, &[2, 1, 4, 4])?, vec![0, 1]);
//!
//! // One step of SGD + GNR, with exact Hessian-vector products.
//! let mut method = Method {
//!     regularizer: Gnr::new(0.1, 0.1)?,
//!     optimizer: Sgd::new(),
//!     learning_rate: 0.1,
//!     clip: Clip::None,
//! };
//! let mut oracle = BatchOracle::new(&net, &backend, &batch, &buffers);
//! let report = method.step(0, &mut theta, &mut oracle)?;
//! assert!(report.loss > 0.0 && report.penalties.len() == 1);
//! # Ok::<(), gnr_core::Error>(())
//! ```

mod autodiff;
pub mod backend;
mod context;
mod data_oracle;
mod dual;
mod error;
mod freeze;
mod init;
pub mod layers;
mod layout;
mod mask;
mod model;
mod oracle;
mod passes;
mod ranks;
mod record;
mod statistics;
#[cfg(feature = "testing")]
pub mod testing;
mod vector;

pub use autodiff::Autodiff;
pub use backend::{
    Arithmetic, Attention, Backend, BatchStats, Conv2dSpec, Convolution, Fused, Linear, Loss, Normalisation,
    Padding, PoolSpec, Pooling, Unary, composed,
};
pub use context::{Buffers, Context, Mode};
pub use data_oracle::{Batches, DataOracle, KeptBatches};
pub use dual::{Dual, Duals};
pub use error::{Error, Result};
pub use freeze::Frozen;
pub use init::Init;
pub use layout::{BufferId, Entry, Layout, ParamId, Role, Scope};
pub use mask::MaskSeed;
pub use model::Model;
pub use oracle::{Batch, BatchOracle, CrossEntropy, Kept, MixedLabels, Statistics, predict};
pub use passes::Curvature;
pub use ranks::AcrossRanks;
pub use record::{Recorded, Records, Replay};
pub use statistics::MeasuredStatistics;
pub use vector::ParamVector;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
