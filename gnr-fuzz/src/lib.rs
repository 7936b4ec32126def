//! Damaged inputs for the tests of parsers, on stable Rust, without instrumentation.
//!
//! A [`Campaign`] reads valid inputs, a committed corpus, and inputs damaged by [`damage`]. No input may cause a panic,
//! take longer than a second, or take more memory than its size justifies. A campaign does not measure coverage. Its
//! measure of progress is the number of *outcomes*: "accepted", and each message of a refusal without its numbers and
//! names. The corpus holds the smallest known input of each refusal.
//!
//! | variable | meaning |
//! |---|---|
//! | `GNR_FUZZ_EXECUTIONS` | number of damaged inputs of each campaign, 3000 by default |
//! | `GNR_FUZZ_FROM` | number of the first damaged input, 0 by default; input N is equal on every run with one corpus |
//! | `GNR_FUZZ_CORPUS` | if set, the corpus is written anew, with the new outcomes |
//!
//! Other crates depend on this one for their tests only.
//!
//! ```
//! use gnr_fuzz::{Random, damage};
//!
//! let damaged = |number| damage(b"rho = 0.1".to_vec(), &mut Random::new(number), &[b"alpha"], &[b"xi = 1"]);
//! assert_eq!(damaged(7), damaged(7)); // input N is always the same
//! assert!((0..20).any(|number| damaged(number) != damaged(number + 1)));
//! ```
#![allow(clippy::print_stdout, reason = "a campaign tells its numbers, and only tests run one")]

mod campaign;
mod corpus;
mod damage;
mod limits;
mod outcome;
mod random;

pub use campaign::{Campaign, alone, executions};
pub use damage::{bomb, damage};
pub use limits::Limits;
pub use random::Random;
