//! Writing safetensors: the same values give the same bytes, on every run.

use std::{collections::BTreeMap, fs, path::Path};

use gnr_nn::Layout;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::WeightsError;

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
        let (dtype, bytes) = match precision {
            Precision::F32 => {
                (Dtype::F32, values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
            }
            Precision::F64 => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        tensors.push(Raw { name: entry.name.clone(), dtype, shape: entry.shape.clone(), bytes });
    }
    Ok(raw_bytes(&tensors, metadata))
}

/// A tensor as it is written.
pub(super) struct Raw {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// A safetensors file of these tensors, in this order.
pub(super) fn raw_bytes(tensors: &[Raw], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0;
    for Raw { name, dtype, shape, bytes } in tensors {
        let start = end;
        end += bytes.len();
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), info);
    }
    let mut header = Value::Object(header).to_string();
    // The format aligns the data to 8 bytes with spaces.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));

    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for tensor in tensors {
        bytes.extend(&tensor.bytes);
    }
    bytes
}

/// Writes [`to_bytes`] under a temporary name beside `path` and renames it: whoever reads `path` sees the old file or the
/// new one, and a failure leaves nothing behind.
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
    write_whole(path, &to_bytes(layout, values, precision, metadata)?)
}

/// Under a temporary name first.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        // The write's own error is the one to report; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
        WeightsError::Io { file: path.display().to_string(), source }
    })
}
