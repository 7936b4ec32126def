//! A key of a method's section: name, domain, default, documentation.

use super::value::{Domain, Interval, Value};
use std::borrow::Cow;

/// A setting of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key's name in recipes (`weight_decay`).
    pub name: &'static str,
    /// The values that the key takes.
    pub domain: Domain,
    /// The value, or the meaning, of a key that is not given.
    pub unset: Unset,
    /// The key's meaning in a sentence, with its symbol in the equation.
    pub doc: &'static str,
}

/// The value, or the meaning, of a key that is not given.
#[derive(Clone, Debug, PartialEq)]
pub enum Unset {
    /// The default value of the key.
    Value(Value),
    /// No value, or one that the other keys decide ([`Entry::resolve`](super::Entry::resolve)).
    Absent,
    /// An error, because the method needs the key.
    Refused,
}

impl Key {
    /// A key for a number of an interval, with its default.
    pub const fn number(name: &'static str, interval: Interval, default: f64, doc: &'static str) -> Self {
        Self { name, domain: Domain::Number(interval), unset: Unset::Value(Value::Number(default)), doc }
    }

    /// A key for two numbers of an interval, with their defaults.
    pub const fn pair(
        name: &'static str,
        interval: Interval,
        default: &'static [f64; 2],
        doc: &'static str,
    ) -> Self {
        let unset = Unset::Value(Value::Numbers(Cow::Borrowed(default)));
        Self { name, domain: Domain::Numbers(2, interval), unset, doc }
    }

    /// A key for a whole number that is at least `least`, with its default.
    pub const fn integer(name: &'static str, least: u64, default: u64, doc: &'static str) -> Self {
        Self { name, domain: Domain::Integer(least), unset: Unset::Value(Value::Integer(default)), doc }
    }

    /// A key for `true` or `false`, with its default.
    pub const fn flag(name: &'static str, default: bool, doc: &'static str) -> Self {
        Self { name, domain: Domain::Flag, unset: Unset::Value(Value::Flag(default)), doc }
    }

    /// A key for one of several names, with its default.
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
