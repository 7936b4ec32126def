//! Values of settings and the domains that they must lie in.

use std::{borrow::Cow, fmt};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A real number.
    Number(f64),
    /// A whole number, 0 or larger.
    Integer(u64),
    /// A truth value, `true` or `false`.
    Flag(bool),
    /// One of the names of [`Domain::Choice`].
    Choice(Cow<'static, str>),
    /// A list of numbers, such as a pair of decay rates.
    Numbers(Cow<'static, [f64]>),
    /// A list of whole numbers.
    Integers(Cow<'static, [u64]>),
}

/// Writes the value as in a recipe: `0.9`, `3`, `true`, `"exact"`, `[0.9, 0.999]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(x) => write!(f, "{x:?}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Flag(yes) => write!(f, "{yes}"),
            Self::Choice(name) => write!(f, "{name:?}"),
            Self::Numbers(list) => write!(f, "{list:?}"),
            Self::Integers(list) => write!(f, "{list:?}"),
        }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $body:expr;)+) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $body
            }
        }
    )+};
}
from! {
    f64 => |x| Self::Number(x);
    u64 => |n| Self::Integer(n);
    bool => |yes| Self::Flag(yes);
    &'static str => |name| Self::Choice(Cow::Borrowed(name));
    String => |name| Self::Choice(Cow::Owned(name));
    Vec<f64> => |list| Self::Numbers(Cow::Owned(list));
    [f64; 2] => |pair| Self::Numbers(Cow::Owned(pair.to_vec()));
    Vec<u64> => |list| Self::Integers(Cow::Owned(list));
}

/// An interval of real numbers. Infinite ends never belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end of the interval.
    pub low: f64,
    /// Whether the lower end is excluded.
    pub low_open: bool,
    /// The upper end of the interval; ∞ if there is none.
    pub high: f64,
    /// Whether the upper end is excluded.
    pub high_open: bool,
}

impl Interval {
    /// The interval (0, ∞).
    pub const POSITIVE: Self = Self { low: 0.0, low_open: true, high: f64::INFINITY, high_open: true };
    /// The interval [0, ∞).
    pub const NOT_NEGATIVE: Self = Self { low: 0.0, low_open: false, high: f64::INFINITY, high_open: true };
    /// The interval [0, 1) of decay rates of averages.
    pub const RATE: Self = Self { low: 0.0, low_open: false, high: 1.0, high_open: true };
    /// The interval (0, 1] of fractions.
    pub const FRACTION: Self = Self { low: 0.0, low_open: true, high: 1.0, high_open: false };

    /// Whether `x` lies in the interval. NaN and infinities never do.
    pub fn contains(&self, x: f64) -> bool {
        let above = if self.low_open { x > self.low } else { x >= self.low };
        let below = if self.high_open { x < self.high } else { x <= self.high };
        x.is_finite() && above && below
    }

    /// The requirement in words, as the end of a sentence about the value: `must lie in [0, 1)`.
    pub fn requirement(&self) -> String {
        match *self {
            Self::POSITIVE => "must be positive and finite".into(),
            Self::NOT_NEGATIVE => "must be 0 or larger, and finite".into(),
            _ => format!("must lie in {self}"),
        }
    }
}

/// Writes the interval with its brackets: `[0, 1)`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |x: f64| if x == f64::INFINITY { "∞".to_owned() } else { x.to_string() };
        let (open, close) = (if self.low_open { '(' } else { '[' }, if self.high_open { ')' } else { ']' });
        write!(f, "{open}{}, {}{close}", end(self.low), end(self.high))
    }
}

/// The values that a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// A number that lies in the interval.
    Number(Interval),
    /// A list of so many numbers, each in the interval.
    Numbers(usize, Interval),
    /// A whole number that is at least the one given.
    Integer(u64),
    /// A list of whole numbers.
    Integers,
    /// `true` or `false`.
    Flag,
    /// One of the names given.
    Choice(&'static [&'static str]),
}

impl Domain {
    /// Checks that the value belongs to the domain.
    ///
    /// # Errors
    /// The error says in words what would be valid.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let valid = match (self, value) {
            (Self::Number(interval), Value::Number(x)) => interval.contains(*x),
            (Self::Numbers(count, interval), Value::Numbers(list)) if list.len() == *count => {
                list.iter().all(|x| interval.contains(*x))
            }
            (Self::Integer(least), Value::Integer(n)) => n >= least,
            (Self::Choice(names), Value::Choice(name)) => names.contains(&&**name),
            (Self::Integers, Value::Integers(_)) | (Self::Flag, Value::Flag(_)) => true,
            _ => return Err(format!("expected {}", self.expected())),
        };
        if valid { Ok(()) } else { Err(self.requirement()) }
    }

    /// The domain's type in words: `a number`, `true or false`.
    pub fn expected(&self) -> String {
        match self {
            Self::Number(_) => "a number".into(),
            Self::Numbers(2, _) => "two numbers".into(),
            Self::Numbers(count, _) => format!("{count} numbers"),
            Self::Integer(_) => "a whole number, 0 or larger".into(),
            Self::Integers => "a list of whole numbers".into(),
            Self::Flag => "true or false".into(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
        }
    }

    /// The requirement that a value of the right type must meet, in words: `must lie in [0, 1)`.
    pub fn requirement(&self) -> String {
        match self {
            Self::Number(interval) => interval.requirement(),
            Self::Numbers(2, interval) => format!("both {}", interval.requirement()),
            Self::Numbers(_, interval) => format!("all {}", interval.requirement()),
            Self::Integer(least) => format!("must be at least {least}"),
            Self::Integers | Self::Flag | Self::Choice(_) => format!("expected {}", self.expected()),
        }
    }
}

/// Writes the domain for listings: `[0, 1)`, `whole number ≥ 1`, `"exact" | "gauss-newton"`.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(interval) => interval.fmt(f),
            Self::Numbers(count, interval) => write!(f, "{count} numbers in {interval}"),
            Self::Integer(least) => write!(f, "whole number ≥ {least}"),
            Self::Integers => f.write_str("whole numbers"),
            Self::Flag => f.write_str("true | false"),
            Self::Choice(names) => {
                let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                f.write_str(&quoted.join(" | "))
            }
        }
    }
}
