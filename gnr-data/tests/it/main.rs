//! Integration tests of the data crate.
