//! Conformance suites of oracles, vectors and optimisers, which any crate runs on its own types.

mod examples;
mod optimizer;
mod oracle;
mod vector;
mod wrapper;

pub use examples::{Coupling, check_examples};
pub use optimizer::check_optimizer;
pub use oracle::{Tolerances, check_oracle};
pub use vector::check_vector;
pub use wrapper::{Operation, Spy, check_wrapper, same};
