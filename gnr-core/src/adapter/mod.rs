//! Oracles made of other oracles: finite-difference products, micro-batches, counting. One file each.

mod accumulated;
mod central_diff;
mod counted;
mod forward_diff;

pub use accumulated::Accumulated;
pub use central_diff::CentralDiff;
pub use counted::{Counted, Counter, Counts};
pub use forward_diff::ForwardDiff;
