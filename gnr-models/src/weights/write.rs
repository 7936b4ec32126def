//! Writing of safetensors files. Equal values give equal bytes on every run.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use gnr_nn::Layout;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::WeightsError;
use crate::Destination;

/// The format numbers are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes, rounded to nearest.
    F32,
    /// 8 bytes, exact.
    F64,
}

/// The bytes of a safetensors file: tensors in layout order, metadata sorted, nothing that depends on the time or the
/// machine. (The `safetensors` crate writes metadata in the order of a hash map, which changes from run to run.)
///
/// # Errors
/// When the number of tensors or a length does not fit the layout.
pub fn to_bytes(
    layout: &Layout,
    values: &[Vec<f64>],
    precision: Precision,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsError> {
    if values.len() != layout.entries().len() {
        return Err(WeightsError::Count { expected: layout.entries().len(), found: values.len() });
    }
    let mut tensors = Vec::with_capacity(values.len());
    for (entry, values) in layout.entries().iter().zip(values) {
        if values.len() != entry.len() {
            return Err(WeightsError::Length {
                tensor: entry.name.clone(),
                expected: entry.shape.clone(),
                found: values.len(),
            });
        }
        let (dtype, size) = match precision {
            Precision::F32 => (Dtype::F32, 4),
            Precision::F64 => (Dtype::F64, 8),
        };
        let (name, shape) = (entry.name.clone(), entry.shape.clone());
        tensors.push(Described { name, dtype, shape, length: values.len() as u64 * size });
    }
    let mut bytes = header(&tensors, metadata);
    for value in values.iter().flatten() {
        match precision {
            Precision::F32 => bytes.extend((*value as f32).to_le_bytes()),
            Precision::F64 => bytes.extend(value.to_le_bytes()),
        }
    }
    Ok(bytes)
}

/// A tensor as a header describes it.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Length in bytes.
    pub(super) length: u64,
}

/// The header of a safetensors file of these tensors, in this order.
pub(super) fn header(tensors: &[Described], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0;
    for Described { name, dtype, shape, length } in tensors {
        let start = end;
        end += length;
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), info);
    }
    let mut header = Value::Object(header).to_string();
    // The format aligns the data to 8 bytes with spaces.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

/// Writes [`to_bytes`] to `path`, through a temporary file beside it. Readers of `path` see the old file or the new
/// one, and a failure leaves nothing behind. Links are followed; a device or pipe is written to.
///
/// # Errors
/// As [`to_bytes`]; a file that cannot be written.
pub fn save(
    path: &Path,
    layout: &Layout,
    values: &[Vec<f64>],
    precision: Precision,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let bytes = to_bytes(layout, values, precision, metadata)?;
    write_whole(path, |out| out.write_all(&bytes).map_err(|source| cannot(path, source)))
}

/// Writes a file under a temporary name and renames it, so that `path` is whole or as it was. Links are followed; a
/// device or pipe is written to.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let fill = |at: &Path| {
        let file = fs::File::create(at).map_err(|source| cannot(path, source))?;
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush().map_err(|source| cannot(path, source))
    };
    let Destination::File(file) = Destination::of(path) else { return fill(path) };
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".partial");
    let written = fill(Path::new(&temporary))
        .and_then(|()| fs::rename(&temporary, &file).map_err(|source| cannot(path, source)));
    if written.is_err() {
        // The write's own error is the one to report; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The error for a file that cannot be written.
pub(super) fn cannot(path: &Path, source: io::Error) -> WeightsError {
    WeightsError::Io { file: path.display().to_string(), source }
}
