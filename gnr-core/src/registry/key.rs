//! A key of a method's section: name, domain, default, documentation.

use super::value::{Domain, Interval, Value};
use std::borrow::Cow;

/// A setting of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name in recipes (`weight_decay`).
    pub name: &'static str,
    /// The values that it takes.
    pub domain: Domain,
    /// What stands for it when it is not given.
    pub unset: Unset,
    /// What it is, in a sentence, with its symbol in the equation.
    pub doc: &'static str,
}

/// What stands for a key that is not given.
#[derive(Clone, Debug, PartialEq)]
pub enum Unset {
    /// A default.
    Value(Value),
    /// Nothing, or what the other keys decide ([`Entry::resolve`](super::Entry::resolve)).
    Absent,
    /// An error: the method needs it.
    Refused,
}

impl Key {
    /// A number with its default.
    pub const fn number(name: &'static str, interval: Interval, default: f64, doc: &'static str) -> Self {
        Self { name, domain: Domain::Number(interval), unset: Unset::Value(Value::Number(default)), doc }
    }

    /// Two numbers with their defaults.
    pub const fn pair(
        name: &'static str,
        interval: Interval,
        default: &'static [f64; 2],
        doc: &'static str,
    ) -> Self {
        let unset = Unset::Value(Value::Numbers(Cow::Borrowed(default)));
        Self { name, domain: Domain::Numbers(2, interval), unset, doc }
    }

    /// A whole number that is at least `least`, with its default.
    pub const fn integer(name: &'static str, least: u64, default: u64, doc: &'static str) -> Self {
        Self { name, domain: Domain::Integer(least), unset: Unset::Value(Value::Integer(default)), doc }
    }

    /// Yes or no, with its default.
    pub const fn flag(name: &'static str, default: bool, doc: &'static str) -> Self {
        Self { name, domain: Domain::Flag, unset: Unset::Value(Value::Flag(default)), doc }
    }

    /// One of several names, with its default.
    pub const fn choice(
        name: &'static str,
        names: &'static [&'static str],
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        let unset = Unset::Value(Value::Choice(Cow::Borrowed(default)));
        Self { name, domain: Domain::Choice(names), unset, doc }
    }

    /// A key that may be left out, and has no default of its own.
    pub const fn absent(name: &'static str, domain: Domain, doc: &'static str) -> Self {
        Self { name, domain, unset: Unset::Absent, doc }
    }

    /// A key that must be given.
    pub const fn required(name: &'static str, domain: Domain, doc: &'static str) -> Self {
        Self { name, domain, unset: Unset::Refused, doc }
    }
}
