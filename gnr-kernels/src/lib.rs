//! CPU kernels on plain slices: `&[E]` in, `&mut [E]` out; no tensors, no tape, no shapes beyond what a kernel needs.
//!
//! Every kernel keeps these invariants:
//! - **Deterministic.** Results do not depend on the number of threads: work is cut by fixed sizes, and partial sums
//!   are merged in a fixed order. Instruction sets ([`simd::Level`]) may differ in the last bits.
//! - **Both precisions.** Everything works for `f32` and `f64`; only convolutions and layers have extra `f32` paths.
//! - **Lengths are checked.** Shapes are validated once (for convolutions by [`conv::Geometry::new`]). A kernel then
//!   asserts that its slices have the lengths that the shape implies, because SIMD code relies on them.
//! - **No state but the [`Runtime`].** It is recycled memory, the instruction set and a count of arithmetic.
//! - `unsafe` is only in [`simd`]-dispatched leaf loops, in the micro-kernels of convolutions and layers, in the call
//!   of the `gemm` crate, in the heap of [`buffer`] and in the parallel loop.

mod accum;
pub mod attention;
pub mod buffer;
pub mod conv;
pub mod dense;
pub mod elem;
pub mod elementwise;
pub mod gather;
pub mod gemm;
mod lanes;
pub mod layer_norm;
pub mod norm;
pub mod norm_producers;
pub mod norm_replay;
pub mod norm_silu;
pub mod normal;
pub mod operand;
mod operand_rows;
mod parallel;
pub mod permute;
pub mod pool;
mod product;
pub mod reduce;
mod runtime;
pub mod scale;
pub mod sigmoid;
pub mod simd;
pub mod softmax;
mod transpose;
pub mod unary;
pub mod unary_producers;
pub mod workers;

pub use accum::Accum;
pub use runtime::{Runtime, runtime};

#[cfg(test)]
mod testing;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
