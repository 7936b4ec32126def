//! Elementwise arithmetic: a small algebra that adaptive optimisers, masks and bounds are written in.

use super::Vector;
use crate::Result;

/// A function of one element x. NaN gives NaN, except to the power 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// The absolute value |x|.
    Abs,
    /// The sign −1, 0 or 1.
    Sign,
    /// The root √x.
    Sqrt,
    /// The reciprocal 1/x.
    Recip,
    /// The square x².
    Square,
    /// The power xᵖ for the given p.
    Power(f64),
    /// The sum x + a for the given a.
    Add(f64),
    /// The nearest number to x between two bounds, of which the smaller comes first.
    Clamp(f64, f64),
}

impl Map {
    /// The value of the function at x.
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

/// The larger of two elements, or NaN where either is NaN, so that an error stays visible.
#[inline]
pub(crate) fn larger(x: f64, y: f64) -> f64 {
    if y > x || y.is_nan() { y } else { x }
}

/// Elementwise arithmetic beyond a vector space.
///
/// Three operations are required. The others follow from them; a backend may fuse them into one pass.
pub trait Elementwise: Vector {
    /// Applies a function to each element: `self ← f(self)`.
    ///
    /// # Errors
    /// A failure of the backend.
    fn map(&mut self, f: Map) -> Result<()>;
    /// Multiplies element by element: `self ← self ⊙ x`.
    ///
    /// # Errors
    /// The errors of [`Vector::axpy`].
    fn multiply(&mut self, x: &Self) -> Result<()>;
    /// Takes the larger element in each place: `self ← max(self, x)`.
    ///
    /// # Errors
    /// The errors of [`Vector::axpy`].
    fn maximum(&mut self, x: &Self) -> Result<()>;

    /// Adds a multiple of an elementwise product: `self ← self + a·(x ⊙ y)`.
    ///
    /// # Errors
    /// The errors of [`Vector::axpy`].
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()> {
        let mut product = x.clone();
        product.multiply(y)?;
        self.axpy(a, &product)
    }
    /// Adds the update of the Adam family: `self ← self + a·x ⊘ (√(b·y) + eps)`. There y is the second moment
    /// and b the correction of its bias.
    ///
    /// # Errors
    /// The errors of [`Vector::axpy`].
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
