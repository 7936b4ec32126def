//! Conversion of the Rust crates' errors to Python's exceptions. An exception of a callable arrives as it was raised.

use gnr_core::Error as Core;
use gnr_hessian::Error as Hessian;
use pyo3::{
    exceptions::{PyFloatingPointError, PyRuntimeError, PyValueError},
    prelude::*,
};

/// The reason why some regularisers cannot be used with a callable.
pub(crate) const NO_EXAMPLES: &str = "asks for losses or outputs of single examples; loss_and_grad has those of a whole \
     batch. `gnr train` and the crate gnr-core have this method";

/// Wraps an exception of a callable, so that it can pass through an algorithm.
pub(crate) fn carried(error: PyErr) -> Core {
    Core::backend(error)
}

/// The Python exception for an error of gnr-core: `FloatingPointError` for a value that is not finite, the exception
/// itself for one that a callable raised, `RuntimeError` for other errors of a backend, `ValueError` for the rest.
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

/// The Python exception for an error of gnr-hessian: `ValueError`, or that of [`of_core`] for an error of gnr-core.
pub(crate) fn of_hessian(error: Hessian) -> PyErr {
    match error {
        Hessian::Core(error) => of_core(error),
        error => PyValueError::new_err(error.to_string()),
    }
}
