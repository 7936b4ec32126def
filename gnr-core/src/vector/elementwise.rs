//! Elementwise arithmetic: a small algebra that adaptive optimisers, masks and bounds are written in.

use super::Vector;
use crate::Result;

/// A function of one element. NaN gives NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// |x|.
    Abs,
    /// −1, 0 or 1.
    Sign,
    /// √x.
    Sqrt,
    /// 1/x.
    Recip,
    /// x².
    Square,
    /// xᵖ.
    Power(f64),
    /// x + a.
    Add(f64),
    /// The nearest number between the two, the smaller first.
    Clamp(f64, f64),
}

impl Map {
    /// The value at x.
    #[inline]
    pub fn at(self, x: f64) -> f64 {
        match self {
            Self::Abs => x.abs(),
            Self::Sign if x > 0.0 => 1.0,
            Self::Sign if x < 0.0 => -1.0,
            Self::Sign => x,
            Self::Sqrt => x.sqrt(),
            Self::Recip => 1.0 / x,
            Self::Square => x * x,
            Self::Power(p) => x.powf(p),
            Self::Add(a) => x + a,
            Self::Clamp(low, _) if x < low => low,
            Self::Clamp(_, high) if x > high => high,
            Self::Clamp(..) => x,
        }
    }
}

/// The larger of two elements. NaN where either is NaN, so that an error stays visible.
#[inline]
pub(crate) fn larger(x: f64, y: f64) -> f64 {
    if y > x || y.is_nan() { y } else { x }
}

/// Elementwise arithmetic beyond a vector space.
///
/// Three operations are required. The others follow from them; a backend may fuse them into one pass.
pub trait Elementwise: Vector {
    /// `self ← f(self)`, element by element.
    ///
    /// # Errors
    /// A failure of the backend.
    fn map(&mut self, f: Map) -> Result<()>;
    /// `self ← self ⊙ x`.
    ///
    /// # Errors
    /// As [`Vector::axpy`].
    fn multiply(&mut self, x: &Self) -> Result<()>;
    /// `self ← max(self, x)`, element by element.
    ///
    /// # Errors
    /// As [`Vector::axpy`].
    fn maximum(&mut self, x: &Self) -> Result<()>;

    /// `self ← self + a·(x ⊙ y)`.
    ///
    /// # Errors
    /// As [`Vector::axpy`].
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()> {
        let mut product = x.clone();
        product.multiply(y)?;
        self.axpy(a, &product)
    }
    /// `self ← self + a·x ⊘ (√(b·y) + eps)`: the update of the Adam family, with `b` its bias correction of the second
    /// moment.
    ///
    /// # Errors
    /// As [`Vector::axpy`].
    fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> Result<()> {
        let mut ratio = y.clone();
        ratio.scale(b)?;
        for f in [Map::Sqrt, Map::Add(eps), Map::Recip] {
            ratio.map(f)?;
        }
        ratio.multiply(x)?;
        self.axpy(a, &ratio)
    }
}
