//! The gnr-nn backend on dfdx: fused CPU kernels and the generic dfdx path.
pub mod cpu;
