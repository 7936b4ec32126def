//! Architectures of the GNR paper and their weight files, written over [`gnr_nn::Backend`]: no tensor library in sight.
//!
//! One file an architecture, one line in the [`registry()`]. Tensors are named as in the published PyTorch checkpoints,
//! so those load as they are ([`weights`]).
//!
//! ```
//! use gnr_models::{AnyModel, ModelConfig};
//! use gnr_nn::Model;
//!
//! let model = AnyModel::build(&ModelConfig::new("resnet20", 10, [3, 32, 32]))?;
//! assert_eq!(model.layout().num_parameters(), 269_722);
//!
//! let typo = AnyModel::build(&ModelConfig::new("resnet-20", 10, [3, 32, 32]));
//! assert!(typo.is_err_and(|error| error.to_string().contains("did you mean `resnet20`")));
//! # Ok::<(), gnr_models::ModelError>(())
//! ```

mod config;
mod destination;
pub mod efficientnet;
pub mod lenet;
pub mod mlp;
mod nonlinearity;
pub mod pyramidnet;
mod registry;
mod residual;
pub mod resnet;
pub mod resnext;
pub mod swin;
#[cfg(feature = "testing")]
pub mod testing;
mod transformer;
pub mod vit;
pub mod weights;
pub mod wide_resnet;

pub use config::{ModelConfig, ModelError};
pub use destination::Destination;
pub use nonlinearity::{Activation, Nonlinearity, Norm};
pub use registry::{AnyModel, Architecture, Canonical, Naming, Refusal, Registered, registry};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
