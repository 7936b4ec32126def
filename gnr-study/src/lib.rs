//! Many runs: comparisons of methods, searches over recipe keys, the paper's tables; what their results support.
//!
//! * [`runner`]: trains the runs of a study several at a time, each in an ordinary run folder.
//! * [`compare`]: is a method worth it on this problem?
//! * [`sweep`]: a search over recipe keys on held-out images.
//! * [`reproduce`]: the tables and figures of the paper.
//! * [`follow`]: run folders for programs that watch runs, finished or while a run writes.
//! * [`run_report`]: the page of a run, or of several over each other.
//! * [`statistics`]: means, intervals and verdicts of paired differences.
//! * [`report`]: a report as data, written for the terminal, as Markdown and as a page.
//!
//! The library prints nothing: a program watches by [`runner::StudyObserver`].
//!
//! Verdicts on what several seeds support, as every report uses them:
//!
//! ```
//! use gnr_study::statistics::{Summary, Verdict};
//!
//! // Test accuracies of two methods minus those of the base method, seed by seed.
//! let differences = [vec![1.1, 0.9, 1.3, 1.0, 1.2], vec![0.4, -0.6, 0.1, 0.5, -0.3]];
//! let summaries: Vec<Summary> = differences.iter().filter_map(|sample| Summary::of(sample)).collect();
//! assert_eq!(Verdict::of_all(&summaries), [Verdict::Better, Verdict::WithinNoise]);
//! assert_eq!(summaries[0].to_string(), "1.10 ± 0.16");
//! ```

pub mod compare;
mod cost;
mod error;
pub mod follow;
mod lock;
mod machine;
mod origin;
mod recipe_keys;
pub mod report;
pub mod reproduce;
pub mod results;
pub mod run_report;
pub mod runner;
mod shard;
pub mod statistics;
pub mod sweep;

pub use cost::gradients_per_step;
pub use error::{Result, StudyError};
pub use lock::FolderLock;
pub use shard::Shard;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
