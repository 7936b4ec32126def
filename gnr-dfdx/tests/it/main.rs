//! What gnr-dfdx promises, one module a subject.

mod conformance;
mod fixtures;
mod golden;
mod unfused;
