//! Oracles made of other oracles: finite-difference products, micro-batches, ranks, counting. One file each.

mod accumulated;
mod central_diff;
mod counted;
mod data_parallel;
mod differences;
mod forward_diff;

pub use accumulated::Accumulated;
pub use central_diff::{Central, CentralDiff};
pub use counted::{Counted, Counter, Counts};
pub use data_parallel::DataParallel;
pub use differences::{Differences, Scheme};
pub use forward_diff::{Forward, ForwardDiff};
