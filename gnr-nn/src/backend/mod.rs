//! The operations of tensor libraries by capability: what each must offer, and what each gets for free.
//!
//! | file | operations |
//! |---|---|
//! | `arithmetic` | [`Arithmetic`]: the operations that every backend writes |
//! | `linear` | [`Linear`]: linear layers, biases and factors of channels |
//! | `convolution`, `pooling` | [`Convolution`], [`Pooling`]: windows over images |
//! | `normalisation`, `group_norm` | [`Normalisation`]: batch, layer and group normalisation |
//! | `attention`, `tokens` | [`Attention`]; patches, windows and their biases |
//! | `loss` | [`Loss`]: cross-entropy |
//! | `normal` | the normal distribution function for libraries without an error function |
//!
//! Each file holds a trait, its operations composed of others, and their derivatives: the trait on [`Duals`]. A backend
//! overrides an operation with a fused kernel where profiling says so. An override changes the speed only; the
//! composition stays its test oracle.

mod arithmetic;
mod attention;
mod convolution;
mod group_norm;
mod linear;
mod loss;
mod normal;
mod normalisation;
mod pooling;
mod tokens;

use crate::Duals;

pub use arithmetic::{Arithmetic, Unary};
pub use attention::Attention;
pub use convolution::{Conv2dSpec, Convolution, Padding};
pub use linear::Linear;
pub use loss::Loss;
pub use normalisation::{BatchStats, Fused, Normalisation};
pub use pooling::{PoolSpec, Pooling};

/// All capabilities together: the operations that a [`Model`](crate::Model) may use.
///
/// A new backend implements [`Arithmetic`] and says `impl Linear for Mine {}` and so on for the others, which have
/// defaults. This trait is then implemented automatically.
pub trait Backend: Linear + Convolution + Pooling + Normalisation + Attention + Loss {}

impl<B: Linear + Convolution + Pooling + Normalisation + Attention + Loss> Backend for B {}

/// Operations composed of others. On [`Duals`] they give their own derivatives.
pub mod composed {
    pub use super::{
        arithmetic::{add_tangents, matmul_dual, mean, mul_dual, unary_dual},
        attention::{AttentionShape, attention, softmax},
        convolution::{conv2d, conv2d_dual, swept},
        group_norm::{check_groups, group_norm},
        linear::{bias_add, broadcast_channels, linear, scale_channels, scale_channels_dual},
        loss::{check_labels, cross_entropy, cross_entropy_hessian, log_softmax},
        normal::{NORMAL_SCALE, NORMAL_TAIL, normal_cdf},
        normalisation::{batch_norm, batch_norm_eval, batch_norm_over_ranks, check_rows, finish, layer_norm},
        pooling::{avg_pool2d, global_avg_pool, max_pool2d},
        tokens::{Windows, patches, relative_bias},
    };
}
