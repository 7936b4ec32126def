//! Many runs: comparisons of methods, searches over recipe keys, the paper's tables; what their results support.
//!
//! * [`runner`]: trains the runs of a study several at a time, each in an ordinary run folder.
//! * [`compare`]: is a method worth it on this problem?
//! * [`sweep`]: a search over recipe keys on held-out images.
//! * [`reproduce`]: the tables and figures of the paper.
//! * [`follow`]: run folders as whoever watches sees them, finished or while a run writes.
//! * [`run_report`]: the page of a run, or of several over each other.
//! * [`statistics`]: means, intervals and verdicts of paired differences.
//! * [`report`]: a report as data, written for the terminal, as Markdown and as a page.
//!
//! The library prints nothing: a program watches by [`runner::StudyObserver`].

pub mod compare;
mod cost;
mod error;
pub mod follow;
mod lock;
mod machine;
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
