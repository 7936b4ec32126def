//! Dual numbers over any backend: unchanged model code gives the directional derivative.

/// A value and its derivative along a direction.
#[derive(Clone, Copy, Debug)]
pub struct Dual<T> {
    /// The value itself.
    pub primal: T,
    /// The derivative; `None` for a constant, which then costs nothing.
    pub tangent: Option<T>,
}

impl<T> Dual<T> {
    /// A value that is constant along the direction.
    pub fn constant(primal: T) -> Self {
        Self { primal, tangent: None }
    }
    /// The pair of references to value and derivative.
    pub fn as_ref(&self) -> Dual<&T> {
        Dual { primal: &self.primal, tangent: self.tangent.as_ref() }
    }
}

impl<T: Clone> Dual<&T> {
    /// The pair of clones of value and derivative.
    pub fn cloned(self) -> Dual<T> {
        Dual { primal: self.primal.clone(), tangent: self.tangent.cloned() }
    }
}

/// The backend of dual numbers over `B`. Each capability of [`backend`](crate::backend) is implemented beside its
/// trait.
#[derive(Clone, Debug)]
pub struct Duals<B>(pub B);
