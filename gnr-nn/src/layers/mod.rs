//! Layers: small values that declare their tensors in a [`Scope`](crate::Scope) and run in a
//! [`Context`](crate::Context).

mod batch_norm;
mod conv;
mod dropout;
mod group_norm;
mod layer_norm;
mod linear;

pub use batch_norm::BatchNorm2d;
pub use conv::Conv2d;
pub use dropout::{DropPath, Dropout};
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
