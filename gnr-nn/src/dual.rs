//! Dual numbers over any backend: the same model code gives the directional derivative.

/// A value and its derivative along one direction.
#[derive(Clone, Copy, Debug)]
pub struct Dual<T> {
    /// The value.
    pub primal: T,
    /// Its derivative; `None` for a constant, which then costs nothing.
    pub tangent: Option<T>,
}

impl<T> Dual<T> {
    /// A value that does not depend on the direction.
    pub fn constant(primal: T) -> Self {
        Self { primal, tangent: None }
    }
    /// The pair by reference.
    pub fn as_ref(&self) -> Dual<&T> {
        Dual { primal: &self.primal, tangent: self.tangent.as_ref() }
    }
}

impl<T: Clone> Dual<&T> {
    /// The pair by value.
    pub fn cloned(self) -> Dual<T> {
        Dual { primal: self.primal.clone(), tangent: self.tangent.cloned() }
    }
}

/// The backend of dual numbers over `B`. Each capability of [`backend`](crate::backend) is implemented beside its
/// trait.
#[derive(Clone, Debug)]
pub struct Duals<B>(pub B);
