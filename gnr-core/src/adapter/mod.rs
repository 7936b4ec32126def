//! Oracles made of other oracles: finite-difference products, micro-batches, ranks, counting. One file each.

mod accumulated;
mod central_diff;
mod counted;
mod data_parallel;
mod forward_diff;

pub use accumulated::Accumulated;
pub use central_diff::CentralDiff;
pub use counted::{Counted, Counter, Counts};
pub use data_parallel::DataParallel;
pub use forward_diff::ForwardDiff;
