//! The registered methods in Python's terms: their descriptions, and settings from Python values.

use crate::{array, error};
use gnr_core::{
    optimizer,
    registry::{Domain, Entry, Key, Unset, Value, Values, find},
    regularizer, schedule,
};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBool, PyDict, PyString},
};

/// The entries of a kind, in the order of listings.
type Entries = fn() -> &'static [&'static Entry];

/// The kinds of methods that have a registry, with their entries.
const KINDS: [(&str, Entries); 3] = [
    ("regularizer", regularizer::entries),
    ("optimizer", optimizer::entries),
    ("schedule", schedule::entries),
];

/// Regularisers that ask about single examples of a batch, which a callable for the batch's loss cannot answer.
const OF_EXAMPLES: [&str; 3] = ["esam", "saf", "mesa"];

/// The entries of a kind, without those that ask about single examples.
fn known(entries: Entries) -> impl Iterator<Item = &'static Entry> {
    entries().iter().copied().filter(|entry| !OF_EXAMPLES.contains(&entry.name))
}

/// The entry of a kind with the name `name`.
///
/// # Errors
/// `ValueError` for an unknown kind or name, with those that exist, and for a regulariser that asks about single
/// examples.
pub(crate) fn entry(kind: &str, name: &str) -> PyResult<&'static Entry> {
    let Some((_, entries)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let known = KINDS.map(|(known, _)| known).join(", ");
        return Err(PyValueError::new_err(format!("expected one of {known}, found {kind:?}")));
    };
    if OF_EXAMPLES.contains(&name) {
        return Err(PyValueError::new_err(format!("{kind} {name:?}: {}", error::NO_EXAMPLES)));
    }
    find(entries(), name).ok_or_else(|| {
        let known: Vec<&str> = known(*entries).map(|entry| entry.name).collect();
        PyValueError::new_err(format!("{kind}: expected one of {}, found {name:?}", known.join(", ")))
    })
}

/// The Python value of a setting.
fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Number(x) => x.into_pyobject(py)?.into_any(),
        Value::Integer(n) => n.into_pyobject(py)?.into_any(),
        Value::Flag(yes) => yes.into_pyobject(py)?.to_owned().into_any(),
        Value::Choice(name) => name.into_pyobject(py)?.into_any(),
        Value::Numbers(list) => pyo3::types::PyTuple::new(py, list.iter())?.into_any(),
        Value::Integers(list) => pyo3::types::PyTuple::new(py, list.iter())?.into_any(),
    })
}

/// Reads the value that Python gave for a key.
///
/// # Errors
/// `ValueError` for a value of another type than the key's. The domain is checked later.
fn from_python(entry: &Entry, key: &Key, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    // In Python True and False are numbers, and strings are sequences.
    let flag = value.is_instance_of::<PyBool>();
    let text = value.is_instance_of::<PyString>();
    let read = match key.domain {
        Domain::Number(_) if !flag => value.extract::<f64>().ok().map(Value::from),
        Domain::Numbers(..) if !text => value.extract::<Vec<f64>>().ok().map(Value::from),
        Domain::Integer(_) if !flag => value.extract::<u64>().ok().map(Value::from),
        Domain::Integers if !text => value.extract::<Vec<u64>>().ok().map(Value::from),
        Domain::Flag => value.extract::<bool>().ok().map(Value::from),
        Domain::Choice(_) => value.extract::<String>().ok().map(Value::from),
        _ => None,
    };
    read.ok_or_else(|| {
        let (found, expected) =
            (value.repr().map_or_else(|_| array::type_name(value), |r| r.to_string()), &key.domain);
        let requirement = format!("expected {}", expected.expected());
        error::of_core(Values::empty(entry).refusal(key.name, &found, requirement))
    })
}

/// The settings that Python gave, with the defaults of the others. A setting that is `None` counts as not given.
///
/// # Errors
/// `ValueError` for a key that the method does not have and for a value outside its domain.
pub(crate) fn values(entry: &'static Entry, given: &Bound<'_, PyDict>) -> PyResult<Values> {
    let mut settings: Vec<(String, Value)> = Vec::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_none()) {
        let name: String = name.extract()?;
        let value = match entry.key(&name) {
            Some(key) => from_python(entry, key, &value)?,
            // `Entry::values` refuses an unknown key, and names the keys that there are.
            None => Value::Choice(value.repr()?.to_string().into()),
        };
        settings.push((name, value));
    }
    entry.values(settings.iter().map(|(name, value)| (name.as_str(), value.clone()))).map_err(error::of_core)
}

/// The settings of a method, checked and with their defaults.
#[pyfunction]
pub(crate) fn resolve<'py>(
    py: Python<'py>,
    kind: &str,
    name: &str,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let resolved = PyDict::new(py);
    for (name, value) in values(entry(kind, name)?, given)?.iter() {
        resolved.set_item(name, to_python(py, value)?)?;
    }
    Ok(resolved)
}

/// All registered methods that Python has: kind, name, title, documentation, equation, keys, cost, reference.
#[pyfunction]
pub(crate) fn entries(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let all = KINDS.iter().flat_map(|(kind, entries)| known(*entries).map(move |entry| (*kind, entry)));
    all.map(|(kind, entry)| described(py, kind, entry)).collect()
}

fn described<'py>(py: Python<'py>, kind: &str, entry: &Entry) -> PyResult<Bound<'py, PyDict>> {
    let keys = entry.keys.iter().map(|key| {
        let told = PyDict::new(py);
        told.set_item("name", key.name)?;
        told.set_item("doc", key.doc)?;
        told.set_item("domain", key.domain.to_string())?;
        let default = match &key.unset {
            Unset::Value(value) => Some(to_python(py, value)?),
            Unset::Absent | Unset::Refused => None,
        };
        told.set_item("default", default)?;
        told.set_item("required", key.unset == Unset::Refused)?;
        Ok(told)
    });
    let told = PyDict::new(py);
    told.set_item("keys", keys.collect::<PyResult<Vec<_>>>()?)?;
    told.set_item("kind", kind)?;
    told.set_item("name", entry.name)?;
    told.set_item("title", entry.title)?;
    told.set_item("doc", entry.doc)?;
    told.set_item("equation", entry.equation)?;
    told.set_item("reference", entry.reference)?;
    told.set_item("gradients", entry.cost.gradients)?;
    told.set_item("products", entry.cost.products)?;
    told.set_item("vectors", entry.cost.vectors)?;
    Ok(told)
}

/// The value of a schedule at a step.
#[pyfunction]
pub(crate) fn schedule_at(
    name: &str,
    given: &Bound<'_, PyDict>,
    peak: f64,
    epochs: u64,
    steps_per_epoch: u64,
    t: u64,
) -> PyResult<f64> {
    let values = values(entry("schedule", name)?, given)?;
    let span = schedule::Span::new(peak, epochs, steps_per_epoch);
    Ok(schedule::build(&values, span).map_err(error::of_core)?.at(t))
}

/// The rows that a sample takes from a batch of `n` examples, ascending. An objective's `restrict` must limit itself to
/// them.
#[pyfunction]
pub(crate) fn sample_rows(n: usize, fraction: f64, seed: u64) -> PyResult<Vec<usize>> {
    if fraction > 0.0 && fraction <= 1.0 {
        Ok(gnr_core::Sample::new(fraction, seed).rows(n))
    } else {
        Err(PyValueError::new_err(format!("fraction: expected a number in (0, 1], found {fraction}")))
    }
}
