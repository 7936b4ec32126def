//! Python's pickles as data: parsed within a budget of memory, never run.
//!
//! A pickle is a program for a stack machine. [`parse`] runs it as far as it makes values, but makes no call. An
//! [`Object`] stands for a call: the callable, the arguments, and the state and items that the result would get. The
//! reader decides about the meaning of such an object. Every operation consumes a byte, and memory is taken from a
//! [`Budget`].
//!
//! # References
//! CPython, `Lib/pickletools.py` (the operations), `Lib/pickle.py` (what they do).

mod budget;
mod input;
mod machine;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use budget::{Budget, Exhausted};
pub use input::{Malformed, Problem};
pub use machine::parse;
pub use value::{Global, Id, Object, Pickle, Text, View};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
