//! Tensor backends on [dfdx](https://docs.rs/dfdx/0.13.0): the fused CPU backend [`Cpu`].

pub mod cpu;
mod tape;

pub use cpu::Cpu;
pub use cpu::kernels::elem::Elem;
