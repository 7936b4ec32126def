//! Python's pickles as data: parsed, never run.
//!
//! A pickle is a program for a stack machine, which may name any function and have it called. Here a call is kept as
//! what it is, an [`Object`] with the name of what was to be called, the arguments, the state and the items that were
//! to be given to the result. What such an object means is for the reader above to decide; most of them it only lists.
//!
//! Protocols 0 to 5. Every operation consumes a byte, nothing is copied out of the file, and memory is taken from a
//! [`Budget`](super::budget::Budget).
//!
//! # References
//! CPython, `Lib/pickletools.py` (the operations), `Lib/pickle.py` (what they do).

mod input;
mod machine;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub(super) use input::{Malformed, Problem};
pub(super) use machine::parse;
pub(super) use value::{Global, Id, Object, Pickle, Text, View};
