//! Weight files: safetensors to and from the tensors of a layout, by name.

mod error;
mod number;
mod write;

use std::{collections::BTreeMap, path::Path};

use gnr_nn::{Entry, Layout, Role};
use safetensors::SafeTensors;

pub use error::WeightsError;
pub use write::{Precision, save, to_bytes};

/// What a load found, tensor by tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tensors that were taken from the file, in layout order.
    pub matched: Vec<String>,
    /// Tensors of the model that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have, sorted (`num_batches_tracked` counters are not mentioned).
    pub unexpected: Vec<String>,
    /// Tensors whose shapes differ.
    pub mismatched: Vec<Mismatch>,
}

/// One tensor whose shape in the file is not the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The tensor.
    pub name: String,
    /// Its shape in the model.
    pub expected: Vec<usize>,
    /// Its shape in the file.
    pub found: Vec<usize>,
}

/// A weight file as values of a layout's entries.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// One row-major tensor for each entry of the layout, buffers included; see [`split`].
    pub values: Vec<Vec<f64>>,
    /// What was found.
    pub report: Report,
    /// The file's own notes.
    pub metadata: BTreeMap<String, String>,
}

/// What to do with weights that are NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// An error naming the tensor and the element.
    #[default]
    Reject,
    /// Take them as they are.
    Keep,
}

/// Loads every tensor of `layout` from a safetensors file (F64, F32, F16 or BF16). Other tensors in the file are reported,
/// not refused.
///
/// # Errors
/// A file that cannot be read or is damaged, a tensor that is missing, of another shape or of another type, a weight that
/// is not finite; each names the file, and the tensor where there is one.
pub fn load(path: &Path, layout: &Layout, non_finite: NonFinite) -> Result<Loaded, WeightsError> {
    from_bytes(&path.display().to_string(), &read(path)?, layout, non_finite)
}

/// [`load`] from memory; `name` stands for the file in errors.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(
    name: &str,
    bytes: &[u8],
    layout: &Layout,
    non_finite: NonFinite,
) -> Result<Loaded, WeightsError> {
    let initial = layout.entries().iter().map(|_| Vec::new()).collect();
    let loaded = partial_from_bytes(name, bytes, layout, initial, non_finite)?;
    let Report { missing, mismatched, .. } = &loaded.report;
    if let Some(first) = missing.first() {
        return Err(WeightsError::Missing {
            file: name.to_owned(),
            tensor: first.clone(),
            others: missing.len() - 1,
        });
    }
    match mismatched.first() {
        Some(Mismatch { name: tensor, expected, found }) => Err(WeightsError::Shape {
            file: name.to_owned(),
            tensor: tensor.clone(),
            expected: expected.clone(),
            found: found.clone(),
        }),
        None => Ok(loaded),
    }
}

/// Loads what fits and keeps `initial` (one tensor an entry, as [`Layout::initialise`] gives) elsewhere: fine-tuning on
/// another number of classes. The report says what was kept.
///
/// # Errors
/// As [`load`], without missing and mismatched tensors.
pub fn load_partial(
    path: &Path,
    layout: &Layout,
    initial: Vec<Vec<f64>>,
    non_finite: NonFinite,
) -> Result<Loaded, WeightsError> {
    partial_from_bytes(&path.display().to_string(), &read(path)?, layout, initial, non_finite)
}

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    std::fs::read(path).map_err(|source| WeightsError::Io { file: path.display().to_string(), source })
}

fn partial_from_bytes(
    file: &str,
    bytes: &[u8],
    layout: &Layout,
    initial: Vec<Vec<f64>>,
    non_finite: NonFinite,
) -> Result<Loaded, WeightsError> {
    if initial.len() != layout.entries().len() {
        return Err(WeightsError::Count { expected: layout.entries().len(), found: initial.len() });
    }
    let damaged = |source| WeightsError::Damaged { file: file.to_owned(), length: bytes.len(), source };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;

    let mut report = Report::default();
    let mut values = initial;
    for (entry, values) in layout.entries().iter().zip(&mut values) {
        let Ok(tensor) = tensors.tensor(&entry.name) else {
            report.missing.push(entry.name.clone());
            continue;
        };
        if tensor.shape() != entry.shape {
            report.mismatched.push(Mismatch {
                name: entry.name.clone(),
                expected: entry.shape.clone(),
                found: tensor.shape().to_vec(),
            });
            continue;
        }
        *values =
            number::decode(tensor.dtype(), tensor.data()).ok_or_else(|| WeightsError::NumberFormat {
                file: file.to_owned(),
                tensor: entry.name.clone(),
                found: format!("{:?}", tensor.dtype()),
            })?;
        if non_finite == NonFinite::Reject
            && let Some(index) = values.iter().position(|value| !value.is_finite())
        {
            return Err(WeightsError::NonFinite {
                file: file.to_owned(),
                tensor: entry.name.clone(),
                index,
                value: values[index],
            });
        }
        report.matched.push(entry.name.clone());
    }
    let known = |name: &str| layout.entries().iter().any(|entry| entry.name == name);
    report.unexpected = (tensors.names().into_iter())
        .filter(|name| !name.ends_with("num_batches_tracked") && !known(name))
        .map(str::to_owned)
        .collect();
    report.unexpected.sort();
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Loaded { values, report, metadata })
}

/// Parameters and running statistics apart, each in the order their ids count: what
/// [`ParamVector::from_host`](gnr_nn::ParamVector::from_host) and [`Buffers`](gnr_nn::Buffers) take.
pub fn split(layout: &Layout, values: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let (mut parameters, mut buffers) = (Vec::new(), Vec::new());
    for (entry, values) in layout.entries().iter().zip(values) {
        match entry.role {
            Role::Parameter(_) => parameters.push(values),
            Role::Buffer(_) => buffers.push(values),
        }
    }
    (parameters, buffers)
}

/// The inverse of [`split`].
///
/// # Errors
/// When there are fewer or more tensors than the layout has.
pub fn join(
    layout: &Layout,
    parameters: Vec<Vec<f64>>,
    buffers: Vec<Vec<f64>>,
) -> Result<Vec<Vec<f64>>, WeightsError> {
    let (expected, found) = (layout.entries().len(), parameters.len() + buffers.len());
    let (mut parameters, mut buffers) = (parameters.into_iter(), buffers.into_iter());
    let next = |entry: &Entry| match entry.role {
        Role::Parameter(_) => parameters.next(),
        Role::Buffer(_) => buffers.next(),
    };
    let values: Option<Vec<_>> = layout.entries().iter().map(next).collect();
    values.filter(|_| expected == found).ok_or(WeightsError::Count { expected, found })
}
