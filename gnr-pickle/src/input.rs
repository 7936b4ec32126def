//! The bytes of a pickle, taken one operand after the other, and the errors of parsing them.

use std::fmt;

use super::value::Span;

/// The reason why bytes are not a pickle, and the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the pickle, in bytes.
    pub offset: usize,
    /// The fault at this offset.
    pub problem: Problem,
}

/// The faults of a pickle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bytes end before the pickle does.
    Ended,
    /// The pickle would take more memory than the size of its file justifies.
    TooLarge,
    /// An operation is impossible at its place.
    Invalid(String),
    /// The operation belongs to none of protocols 0 to 5, or needs data outside the file.
    Unknown(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, problem } = self;
        match problem {
            Problem::Ended => write!(f, "the pickle does not end: it was cut at its byte {offset}"),
            Problem::TooLarge => {
                write!(
                    f,
                    "the pickle builds more objects than the size of the file justifies (byte {offset})"
                )
            }
            Problem::Invalid(reason) | Problem::Unknown(reason) => {
                write!(f, "byte {offset} of the pickle: {reason}")
            }
        }
    }
}

impl std::error::Error for Malformed {}

pub(crate) type Result<T> = std::result::Result<T, Malformed>;

/// Bytes, and the number of bytes that were taken.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Input<'_> {
    pub(crate) fn invalid<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Malformed { offset: self.at, problem: Problem::Invalid(reason.into()) })
    }

    pub(crate) fn unknown<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Malformed { offset: self.at, problem: Problem::Unknown(reason.into()) })
    }

    pub(crate) fn ended<T>(&self) -> Result<T> {
        Err(Malformed { offset: self.bytes.len(), problem: Problem::Ended })
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<Span> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let Some(end) = end.filter(|&end| end <= self.bytes.len()) else { return self.ended() };
        let (Ok(start), Ok(last)) = (u32::try_from(self.at), u32::try_from(end)) else {
            return self.unknown("a pickle of more than 4 GiB");
        };
        self.at = end;
        Ok(Span { start, end: last })
    }

    pub(crate) fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Takes a little-endian number of `size` bytes.
    pub(crate) fn number(&mut self, size: u64) -> Result<u64> {
        let span = self.take(size)?;
        Ok(self.slice(span).iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Takes the rest of a line.
    pub(crate) fn line(&mut self) -> Result<Span> {
        match self.bytes.get(self.at..).unwrap_or_default().iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                let line = self.take(length as u64)?;
                self.at += 1;
                Ok(line)
            }
            None => self.ended(),
        }
    }

    /// Takes a line with a number in decimal digits; `None` beyond 64 bits.
    pub(crate) fn decimal(&mut self) -> Result<Option<i64>> {
        let line = self.line()?;
        let digits = self.slice(line).trim_ascii();
        let digits = digits.strip_suffix(b"L").unwrap_or(digits);
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return self.invalid("a number is not written in digits");
        }
        Ok(std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()))
    }

    pub(crate) fn key(&mut self) -> Result<u64> {
        match self.decimal()?.and_then(|key| u64::try_from(key).ok()) {
            Some(key) => Ok(key),
            None => self.invalid("a number to keep something under is negative or too large"),
        }
    }
}
