//! What gnr-burn-train promises, one module a subject.
#![allow(clippy::unwrap_used, missing_docs)]

mod agreement;
mod checkpoints;
mod field;
mod moons;
mod oracle;
mod refusals;
mod statistics;
