//! Damaged inputs for the tests of parsers, on stable Rust, without instrumentation.
//!
//! A [`Campaign`] reads valid inputs, a committed corpus, and inputs damaged by [`damage`]: none may panic, take longer
//! than a second, or take more memory than its size justifies. In place of coverage it looks at *outcomes*: an input's
//! outcome is that it is accepted, or the words with which it is refused, without the numbers and names in them. The
//! corpus has the smallest known input of each outcome.
//!
//! | variable | meaning |
//! |---|---|
//! | `GNR_FUZZ_EXECUTIONS` | damaged inputs of each campaign, instead of some thousands |
//! | `GNR_FUZZ_FROM` | number of the first one; input N is the same on every run with the same corpus |
//! | `GNR_FUZZ_CORPUS` | set: the corpus is written anew, with the new outcomes |
//!
//! Used by tests only; no crate depends on it otherwise.
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
