//! The fused CPU backend: recycled buffers and plain-slice kernels.
pub mod buffer;
pub mod kernels;
