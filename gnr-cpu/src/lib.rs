//! The CPU engine of gnr-nn: fused operations on tensors, a tape, and replays that compute exact Hessian-vector
//! products.
//!
//! | file | contents |
//! |---|---|
//! | `tensor` | values, shape, node of the adjoint |
//! | `value` | values in memory, recomputed, or held elsewhere |
//! | `tape` | the steps of a reverse pass |
//! | `adjoints` | the adjoints of a reverse pass |
//! | `session` | plain, gradient and replay sessions; what an operation records |
//! | `arithmetic`, `reindex`, `linear`, `conv` | functions, moves, products and convolutions, with their replays |
//! | `norm`, `layer_norm`, `attention` | the operations of these names, with their replays |
//! | `pool`, `scale`, `loss`, `ranks` | the remaining operations, with their replays |
//! | `autodiff` | sessions, the reverse pass, arithmetic in place |
//!
//! [`gnr_kernels`] provides memory and arithmetic; it knows no tensors.

mod adjoints;
mod arithmetic;
mod attention;
mod autodiff;

mod conv;

mod layer_norm;
mod linear;
mod loss;
mod norm;
mod pool;
mod ranks;
mod reindex;
mod scale;
mod session;
mod tape;
mod tensor;
mod value;

use std::fmt;

use gnr_nn::{AcrossRanks, Backend, BatchStats, Conv2dSpec, Dual, Error, Fused, PoolSpec, Result, Unary};

pub use gnr_kernels::elem::Elem;
pub use session::Record;
pub use tensor::Tensor;

use gnr_kernels::buffer::Buf;

use session::Session;

/// The CPU backend in single (`Cpu<f32>`) or double precision (`Cpu<f64>`).
///
/// `Cpu::new()` is a plain handle, for prediction and for creating tensors. Equal data and an equal number of threads
/// give equal bits. The kernels run on the current rayon pool.
pub struct Cpu<E: Elem> {
    session: Session<E>,
}

impl<E: Elem> Cpu<E> {
    /// Creates a plain handle.
    pub fn new() -> Self {
        Self { session: Session::Plain }
    }
}

impl<E: Elem> Default for Cpu<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Elem> Clone for Cpu<E> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone() }
    }
}

impl<E: Elem> fmt::Debug for Cpu<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = match self.session {
            Session::Plain => "plain",
            Session::Gradient { .. } => "gradient",
            Session::Replay { .. } => "replay",
        };
        f.debug_struct("Cpu").field("session", &session).finish()
    }
}

/// Checks a number of elements against a shape.
fn check_len(op: &'static str, len: usize, shape: &[usize]) -> Result<()> {
    if len == shape.iter().product::<usize>() {
        Ok(())
    } else {
        Err(Error::InvalidShape { op, expected: format!("one with {len} elements"), found: shape.to_vec() })
    }
}

/// Implements [`Backend`] for each element type. The methods are not generic: operations and kernels are compiled here
/// once, and not in every crate that computes.
macro_rules! backend {
    ($($E:ty),+) => {
        $(
        impl Backend for Cpu<$E> {
            type Tensor = Tensor<$E>;

            fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Tensor<$E>> {
                check_len("constant", data.len(), shape)?;
                let mut buffer = Buf::new(data.len());
                buffer.iter_mut().zip(data).for_each(|(to, from)| *to = <$E>::of(*from));
                Ok(Tensor::new(buffer, shape))
            }
            fn shape<'t>(&self, x: &'t Tensor<$E>) -> &'t [usize] {
                x.shape()
            }
            fn detach(&self, x: &Tensor<$E>) -> Tensor<$E> {
                x.detached()
            }
            fn add(&self, a: &Tensor<$E>, b: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.add_op(a, b)
            }
            fn mul(&self, a: &Tensor<$E>, b: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.mul_op(a, b)
            }
            fn affine(&self, x: &Tensor<$E>, a: f64, b: f64) -> Result<Tensor<$E>> {
                self.affine_op(x, a, b)
            }
            fn unary(&self, op: Unary, x: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.unary_op(op, x)
            }
            fn matmul(&self, a: &Tensor<$E>, b: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.matmul_op(a, b)
            }
            fn sum(&self, x: &Tensor<$E>, axes: &[usize]) -> Result<Tensor<$E>> {
                self.sum_op(x, axes)
            }
            fn broadcast(&self, x: &Tensor<$E>, shape: &[usize]) -> Result<Tensor<$E>> {
                self.broadcast_op(x, shape)
            }
            fn reshape(&self, x: &Tensor<$E>, shape: &[usize]) -> Result<Tensor<$E>> {
                self.reshape_op(x, shape)
            }
            fn permute(&self, x: &Tensor<$E>, axes: &[usize]) -> Result<Tensor<$E>> {
                self.permute_op(x, axes)
            }
            fn gather(&self, x: &Tensor<$E>, axis: usize, indices: &[Option<usize>]) -> Result<Tensor<$E>> {
                self.gather_op(x, axis, indices)
            }
            fn max_last(&self, x: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.max_last_op(x)
            }
            fn mean_over_ranks(&self, x: &Tensor<$E>, across: &AcrossRanks) -> Result<Tensor<$E>> {
                self.mean_over_ranks_op(x, across)
            }

            fn linear(&self, x: &Tensor<$E>, w: &Tensor<$E>, b: Option<&Tensor<$E>>) -> Result<Tensor<$E>> {
                self.linear_layer_op(x, w, b)
            }
            fn conv2d(&self, x: &Tensor<$E>, w: &Tensor<$E>, spec: Conv2dSpec) -> Result<Tensor<$E>> {
                self.conv2d_op(x, w, spec)
            }
            fn bias_add(&self, x: &Tensor<$E>, b: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.bias_add_op(x, b)
            }
            fn batch_norm(
                &self,
                x: &Tensor<$E>,
                scale: &Tensor<$E>,
                shift: &Tensor<$E>,
                eps: f64,
                fused: Fused<'_, Tensor<$E>>,
            ) -> Result<(Tensor<$E>, BatchStats<Tensor<$E>>)> {
                self.batch_norm_op(x, scale, shift, eps, fused)
            }
            fn batch_norm_eval(
                &self,
                x: &Tensor<$E>,
                scale: &Tensor<$E>,
                shift: &Tensor<$E>,
                stats: &BatchStats<Tensor<$E>>,
                eps: f64,
                fused: Fused<'_, Tensor<$E>>,
            ) -> Result<Tensor<$E>> {
                self.batch_norm_eval_op(x, scale, shift, stats, eps, fused)
            }
            fn max_pool2d(&self, x: &Tensor<$E>, spec: PoolSpec) -> Result<Tensor<$E>> {
                self.max_pool2d_op(x, spec)
            }
            fn avg_pool2d(&self, x: &Tensor<$E>, spec: PoolSpec) -> Result<Tensor<$E>> {
                self.avg_pool2d_op(x, spec)
            }
            fn global_avg_pool(&self, x: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.global_avg_pool_op(x)
            }
            fn scale_channels(&self, x: &Tensor<$E>, s: &Tensor<$E>) -> Result<Tensor<$E>> {
                self.scale_channels_op(x, s)
            }
            fn layer_norm(&self, x: &Tensor<$E>, scale: &Tensor<$E>, shift: &Tensor<$E>, eps: f64) -> Result<Tensor<$E>> {
                self.layer_norm_op(x, scale, shift, eps)
            }
            fn attention(&self, qkv: &Tensor<$E>, heads: usize, bias: Option<&Tensor<$E>>) -> Result<Tensor<$E>> {
                self.attention_op(qkv, heads, bias)
            }
            fn cross_entropy(&self, logits: &Tensor<$E>, labels: &[usize], smoothing: f64) -> Result<Tensor<$E>> {
                self.cross_entropy_op(logits, labels, smoothing)
            }

            fn mul_dual(&self, a: Dual<&Tensor<$E>>, b: Dual<&Tensor<$E>>) -> Result<Dual<Tensor<$E>>> {
                self.mul_dual_op(a, b)
            }
            fn unary_dual(&self, op: Unary, x: Dual<&Tensor<$E>>) -> Result<Dual<Tensor<$E>>> {
                self.unary_dual_op(op, x)
            }
            fn matmul_dual(&self, a: Dual<&Tensor<$E>>, b: Dual<&Tensor<$E>>) -> Result<Dual<Tensor<$E>>> {
                self.matmul_dual_op(a, b)
            }
            fn linear_dual(
                &self,
                x: Dual<&Tensor<$E>>,
                w: Dual<&Tensor<$E>>,
                b: Option<Dual<&Tensor<$E>>>,
            ) -> Result<Dual<Tensor<$E>>> {
                self.linear_layer_dual_op(x, w, b)
            }
            fn conv2d_dual(
                &self,
                x: Dual<&Tensor<$E>>,
                w: Dual<&Tensor<$E>>,
                spec: Conv2dSpec,
            ) -> Result<Dual<Tensor<$E>>> {
                self.conv2d_dual_op(x, w, spec)
            }
            fn batch_norm_dual(
                &self,
                x: Dual<&Tensor<$E>>,
                scale: Dual<&Tensor<$E>>,
                shift: Dual<&Tensor<$E>>,
                eps: f64,
                residual: Option<Dual<&Tensor<$E>>>,
                activation: Option<Unary>,
            ) -> Result<(Dual<Tensor<$E>>, BatchStats<Dual<Tensor<$E>>>)> {
                self.batch_norm_dual_op(x, scale, shift, eps, residual, activation)
            }
            fn batch_norm_eval_dual(
                &self,
                x: Dual<&Tensor<$E>>,
                scale: Dual<&Tensor<$E>>,
                shift: Dual<&Tensor<$E>>,
                stats: &BatchStats<Tensor<$E>>,
                eps: f64,
                residual: Option<Dual<&Tensor<$E>>>,
                activation: Option<Unary>,
            ) -> Result<Dual<Tensor<$E>>> {
                self.batch_norm_eval_dual_op(x, scale, shift, stats, eps, residual, activation)
            }
            fn max_pool2d_dual(&self, x: Dual<&Tensor<$E>>, spec: PoolSpec) -> Result<Dual<Tensor<$E>>> {
                self.max_pool2d_dual_op(x, spec)
            }
            fn scale_channels_dual(&self, x: Dual<&Tensor<$E>>, s: Dual<&Tensor<$E>>) -> Result<Dual<Tensor<$E>>> {
                self.scale_channels_dual_op(x, s)
            }
            fn layer_norm_dual(
                &self,
                x: Dual<&Tensor<$E>>,
                scale: Dual<&Tensor<$E>>,
                shift: Dual<&Tensor<$E>>,
                eps: f64,
            ) -> Result<Dual<Tensor<$E>>> {
                self.layer_norm_dual_op(x, scale, shift, eps)
            }
            fn attention_dual(
                &self,
                qkv: Dual<&Tensor<$E>>,
                heads: usize,
                bias: Option<Dual<&Tensor<$E>>>,
            ) -> Result<Dual<Tensor<$E>>> {
                self.attention_dual_op(qkv, heads, bias)
            }
            fn cross_entropy_dual(
                &self,
                logits: Dual<&Tensor<$E>>,
                labels: &[usize],
                smoothing: f64,
            ) -> Result<Dual<Tensor<$E>>> {
                self.cross_entropy_dual_op(logits, labels, smoothing)
            }
        }
        )+
    };
}

backend!(f32, f64);

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
