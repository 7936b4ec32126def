//! The kind of a method's Hessian-vector products, from its settings or from the callables that the caller has.

use gnr_core::Products;
use pyo3::{exceptions::PyValueError, prelude::*};

/// The kinds of products, named as in recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exact,
    GaussNewton,
    ForwardDifference,
    CentralDifference,
}

const NAMES: [(&str, Kind); 4] = [
    ("exact", Kind::Exact),
    ("gauss-newton", Kind::GaussNewton),
    ("forward-difference", Kind::ForwardDifference),
    ("central-difference", Kind::CentralDifference),
];

impl Kind {
    /// The kind with the name `name`.
    pub(crate) fn named(name: &str) -> PyResult<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
            let known = NAMES.map(|(known, _)| known).join(", ");
            PyValueError::new_err(format!("products: expected one of {known}, found {name:?}"))
        })
    }

    /// The name of the kind.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The products of this kind. `step` is the norm of a difference's perturbation; `None` for the kind's default.
    pub(crate) fn products(self, step: Option<f64>) -> Products {
        match self {
            Self::Exact => Products::Exact,
            Self::GaussNewton => Products::GaussNewton,
            Self::ForwardDifference => Products::ForwardDifference { step: step.unwrap_or(1e-3) },
            Self::CentralDifference => Products::CentralDifference { step: step.unwrap_or(1e-2) },
        }
    }
}

/// The settings of products that the caller gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// The kind; `None` leaves the choice to [`with`](Self::with).
    pub(crate) kind: Option<Kind>,
    /// The norm of a difference's perturbation; `None` for the default.
    pub(crate) step: Option<f64>,
}

impl Asked {
    /// The kind of the products that was asked for. If none was, a callable's products are taken for exact, and without
    /// a callable products are forward differences.
    ///
    /// # Errors
    /// `ValueError` for a kind that needs a callable for products when there is none.
    pub(crate) fn with(self, callable: bool) -> PyResult<Kind> {
        match self.kind {
            None => Ok(if callable { Kind::Exact } else { Kind::ForwardDifference }),
            Some(kind @ (Kind::Exact | Kind::GaussNewton)) if !callable => {
                Err(PyValueError::new_err(format!(
                    "{} products: expected a callable hvp(theta, v), found none; \"forward-difference\" and \
                 \"central-difference\" need no callable",
                    kind.name()
                )))
            }
            Some(kind) => Ok(kind),
        }
    }
}
