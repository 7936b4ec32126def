//! From errors of the Rust crates to Python's exceptions. An exception of a callable comes through as it was raised.

use gnr_core::Error as Core;
use gnr_hessian::Error as Hessian;
use pyo3::{
    exceptions::{PyFloatingPointError, PyRuntimeError, PyValueError},
    prelude::*,
};

/// Why some regularisers are not for a callable.
pub(crate) const NO_EXAMPLES: &str = "asks for losses or outputs of single examples; loss_and_grad has those of a whole \
     batch. `gnr train` and the crate gnr-core have this method";

/// An exception on its way through an algorithm.
pub(crate) fn carried(error: PyErr) -> Core {
    Core::backend(error)
}

/// The exception that Python sees.
pub(crate) fn of_core(error: Core) -> PyErr {
    let message = error.to_string();
    match error {
        Core::Backend(inner) => match inner.downcast::<PyErr>() {
            Ok(raised) => *raised,
            Err(_) => PyRuntimeError::new_err(message),
        },
        Core::NonFinite { .. } => PyFloatingPointError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}

/// As [`of_core`].
pub(crate) fn of_hessian(error: Hessian) -> PyErr {
    match error {
        Hessian::Core(error) => of_core(error),
        error => PyValueError::new_err(error.to_string()),
    }
}
