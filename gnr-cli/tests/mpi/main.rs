//! The real program under a real `mpirun`, oversubscribed where there are few cores: all ranks act as one process, and
//! their run ends or continues as one.
//!
//! `GNR_TABLE=1` makes the whole equality table of docs/clusters.md, `GNR_KILLS=10` kills each rank ten times.
// The configured exception for tests covers the test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod commands;
mod curvature;
mod equality;
mod eval;
mod failures;
mod killed;
mod support;
