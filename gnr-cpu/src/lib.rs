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

use gnr_nn::{Error, Result};

pub use gnr_kernels::elem::Elem;
pub use session::Record;
pub use tensor::Tensor;

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

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
