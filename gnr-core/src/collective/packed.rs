//! Numbers in the form in which ranks exchange them.

use crate::{Error, Real, Result, Vector, vector::same_dim};

/// Numbers of one kind, in order: what a [`Collective`](super::Collective) moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Packed {
    /// The bytes of a message.
    Bytes(Vec<u8>),
    /// Numbers in single precision.
    Single(Vec<f32>),
    /// Numbers in double precision.
    Double(Vec<f64>),
}

impl Packed {
    /// The number of elements: numbers, or bytes of a message.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The kind in words, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Single(_) => "f32",
            Self::Double(_) => "f64",
        }
    }
    /// `count` zeros of this kind.
    pub fn zeros(&self, count: usize) -> Self {
        match self {
            Self::Bytes(_) => Self::Bytes(vec![0; count]),
            Self::Single(_) => Self::Single(vec![0.0; count]),
            Self::Double(_) => Self::Double(vec![0.0; count]),
        }
    }
    /// A copy of the numbers in `range`.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] for a range beyond the end.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Result<Self> {
        let beyond = Error::DimensionMismatch { operation: "slice", expected: self.len(), found: range.end };
        let part = match self {
            Self::Bytes(values) => values.get(range).map(|part| Self::Bytes(part.to_vec())),
            Self::Single(values) => values.get(range).map(|part| Self::Single(part.to_vec())),
            Self::Double(values) => values.get(range).map(|part| Self::Double(part.to_vec())),
        };
        part.ok_or(beyond)
    }
    /// Appends numbers of an equal kind.
    ///
    /// # Errors
    /// [`Error::Oracle`] for another kind.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        match (&mut *self, other) {
            (Self::Bytes(all), Self::Bytes(more)) => all.extend_from_slice(more),
            (Self::Single(all), Self::Single(more)) => all.extend_from_slice(more),
            (Self::Double(all), Self::Double(more)) => all.extend_from_slice(more),
            _ => return Err(Error::Oracle(format!("ranks exchange {} and {}", self.kind(), other.kind()))),
        }
        Ok(())
    }
    /// The bytes, which must be a message.
    ///
    /// # Errors
    /// [`Error::Oracle`] for numbers.
    pub fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(values) => Ok(values),
            other => {
                Err(Error::Oracle(format!("expected bytes from the other ranks, found {}", other.kind())))
            }
        }
    }
    /// The numbers, which must be in double precision.
    ///
    /// # Errors
    /// [`Error::Oracle`] for another kind.
    pub fn doubles(self) -> Result<Vec<f64>> {
        match self {
            Self::Double(values) => Ok(values),
            other => Err(Error::Oracle(format!("expected f64 from the other ranks, found {}", other.kind()))),
        }
    }
    /// Returns `self` when it has `count` numbers, else an error in the name of `operation`.
    pub(super) fn fits(self, operation: &'static str, count: usize) -> Result<Self> {
        same_dim(operation, count, self.len())?;
        Ok(self)
    }
}

/// A vector whose numbers can go to other ranks.
pub trait Pack: Vector {
    /// All numbers of the vector in their stored precision. The order depends on the shape alone.
    ///
    /// # Errors
    /// A failure of the backend.
    fn pack(&self) -> Result<Packed>;
    /// A vector of this one's shape with the given numbers, in the order of [`pack`](Self::pack).
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] for another count of numbers, [`Error::Oracle`] for another kind, a failure of the
    /// backend.
    fn unpack(&self, numbers: Packed) -> Result<Self>;
}

impl<T: Real> Pack for Vec<T> {
    fn pack(&self) -> Result<Packed> {
        Ok(T::pack(self.clone()))
    }
    fn unpack(&self, numbers: Packed) -> Result<Self> {
        let kind = numbers.kind();
        let numbers = numbers.fits("unpack", self.len())?;
        T::unpack(numbers)
            .ok_or_else(|| Error::Oracle(format!("a vector of another precision cannot hold {kind}")))
    }
}
