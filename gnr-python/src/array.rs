//! Arrays and numbers from Python, checked, with errors that say what was expected and what was found.

use gnr_core::Real;
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyDict,
};

/// A floating-point type of arrays.
pub(crate) trait Element: Real + numpy::Element + 'static {
    /// NumPy's name of the type.
    const NAME: &'static str;
    /// The unit roundoff of the type.
    const ROUNDOFF: f64;
}

impl Element for f32 {
    const NAME: &'static str = "float32";
    const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
}

impl Element for f64 {
    const NAME: &'static str = "float64";
    const ROUNDOFF: f64 = f64::EPSILON / 2.0;
}

/// The precision of the vectors of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Single,
    Double,
}

impl Precision {
    /// The precision with NumPy's name `name`.
    pub(crate) fn named(name: &str) -> PyResult<Self> {
        match name {
            "float32" => Ok(Self::Single),
            "float64" => Ok(Self::Double),
            _ => Err(PyValueError::new_err(format!("dtype: expected float32 or float64, found {name}"))),
        }
    }
}

/// Calls a generic function with the element type of a [`Precision`].
macro_rules! with_precision {
    ($precision:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $precision {
            $crate::array::Precision::Single => $function::<f32>($($argument),*),
            $crate::array::Precision::Double => $function::<f64>($($argument),*),
        }
    };
}
pub(crate) use with_precision;

/// The name of a value's type.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string())
}

/// Checks that `value` is callable.
///
/// # Errors
/// `TypeError`, which names the argument, the expected signature and the type that was found.
pub(crate) fn callable(value: &Bound<'_, PyAny>, argument: &str, signature: &str) -> PyResult<()> {
    if value.is_callable() {
        return Ok(());
    }
    let found = type_name(value);
    Err(PyTypeError::new_err(format!("{argument}: expected a callable {signature}, found {found}")))
}

/// Copies a vector of `dim` elements from anything that NumPy makes an array of: arrays, PyTorch and JAX tensors,
/// lists.
///
/// # Errors
/// `TypeError` for values that are no real floating-point numbers, `ValueError` for another shape. Each names `what`.
pub(crate) fn vector<T: Element>(value: &Bound<'_, PyAny>, dim: usize, what: &str) -> PyResult<Vec<T>> {
    let array = as_array(value, what)?;
    let shape = array.shape().to_vec();
    if shape != [dim] {
        let found = shape_text(&shape);
        return Err(PyValueError::new_err(format!("{what}: expected shape ({dim},), found {found}")));
    }
    let options = PyDict::new(value.py());
    options.set_item("dtype", T::NAME)?;
    // A slice must be C-contiguous and aligned.
    options.set_item("requirements", ["C", "A"])?;
    let array = value.py().import("numpy")?.call_method("require", (array,), Some(&options))?;
    let array = array.cast_into::<PyArray1<T>>()?;
    let readonly = array.try_readonly().map_err(|error| PyValueError::new_err(format!("{what}: {error}")))?;
    Ok(readonly.as_slice().map_err(|error| PyValueError::new_err(format!("{what}: {error}")))?.to_vec())
}

/// Detaches a PyTorch tensor from its graph and moves it to the CPU, because NumPy refuses other tensors. A value
/// without such methods is returned as it is.
fn detached<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let mut value = value.clone();
    for method in ["detach", "cpu"] {
        if let Some(method) = value.getattr_opt(method)? {
            value = method.call0()?;
        }
    }
    Ok(value)
}

/// Converts a value to an array of floating-point numbers.
///
/// # Errors
/// `TypeError` for elements of another kind, which names `what`; exceptions of NumPy and PyTorch.
fn as_array<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    let array = match value.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => {
            let detached = detached(value)?;
            py.import("numpy")?.call_method1("asarray", (detached,))?.cast_into::<PyUntypedArray>()?
        }
    };
    let dtype = array.dtype();
    let kind: String = dtype.getattr("kind")?.extract()?;
    if kind != "f" {
        let found = if kind == "O" { type_name(value) } else { format!("an array of {dtype}") };
        let expected = "expected an array of float32 or float64";
        return Err(PyTypeError::new_err(format!("{what}: {expected}, found {found}")));
    }
    Ok(array)
}

/// A shape as NumPy writes it.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    match shape {
        [only] => format!("shape ({only},)"),
        _ => {
            let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
            format!("shape ({})", axes.join(", "))
        }
    }
}

/// Converts a value with `__float__` to a real number.
///
/// # Errors
/// `TypeError`, which names `what` and the type that was found; other exceptions of the conversion.
pub(crate) fn number(value: &Bound<'_, PyAny>, what: &str) -> PyResult<f64> {
    detached(value)?.extract::<f64>().map_err(|error| {
        if !error.is_instance_of::<PyTypeError>(value.py()) {
            return error;
        }
        PyTypeError::new_err(format!("{what}: expected a number, found {}", type_name(value)))
    })
}

/// The array θ of a step, which can be changed in place.
pub(crate) enum ThetaArray<'py> {
    Single(Bound<'py, PyArray1<f32>>),
    Double(Bound<'py, PyArray1<f64>>),
}

/// Checks the array that a step changes in place.
///
/// # Errors
/// `TypeError` for values other than NumPy arrays of float32 or float64. `ValueError` for an array that has not one
/// axis, is not aligned or cannot be written.
pub(crate) fn theta<'py>(value: &Bound<'py, PyAny>) -> PyResult<ThetaArray<'py>> {
    let Ok(array) = value.cast::<PyUntypedArray>() else {
        return Err(PyTypeError::new_err(format!(
            "theta: expected a numpy.ndarray, which a step changes in place, found {} (a PyTorch tensor's memory is \
             `tensor.detach().numpy()`)",
            type_name(value)
        )));
    };
    if array.ndim() != 1 {
        let found = shape_text(array.shape());
        return Err(PyValueError::new_err(format!("theta: expected one axis, found {found}")));
    }
    let flags = array.getattr("flags")?;
    for flag in ["writeable", "aligned"] {
        if !flags.getattr(flag)?.extract::<bool>()? {
            return Err(PyValueError::new_err(format!(
                "theta: expected a {flag} array, found one that is not"
            )));
        }
    }
    if let Ok(array) = array.cast::<PyArrayDyn<f32>>() {
        return Ok(ThetaArray::Single(array.clone().into_any().cast_into()?));
    }
    if let Ok(array) = array.cast::<PyArrayDyn<f64>>() {
        return Ok(ThetaArray::Double(array.clone().into_any().cast_into()?));
    }
    let found = array.dtype();
    Err(PyTypeError::new_err(format!("theta: expected an array of float32 or float64, found {found}")))
}
