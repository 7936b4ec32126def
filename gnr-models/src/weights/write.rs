//! Writing safetensors: the same values give the same bytes, on every run.

use std::{collections::BTreeMap, fs, path::Path};

use gnr_nn::Layout;
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
    let (name, width) = match precision {
        Precision::F32 => ("F32", 4),
        Precision::F64 => ("F64", 8),
    };
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0;
    for (entry, values) in layout.entries().iter().zip(values) {
        if values.len() != entry.len() {
            return Err(WeightsError::Length {
                tensor: entry.name.clone(),
                expected: entry.shape.clone(),
                found: values.len(),
            });
        }
        let start = end;
        end += values.len() * width;
        let info = json!({ "dtype": name, "shape": entry.shape, "data_offsets": [start, end] });
        header.insert(entry.name.clone(), info);
    }
    let mut header = Value::Object(header).to_string();
    // The format aligns the data to 8 bytes with spaces.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));

    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for &value in values.iter().flatten() {
        match precision {
            Precision::F32 => bytes.extend((value as f32).to_le_bytes()),
            Precision::F64 => bytes.extend(value.to_le_bytes()),
        }
    }
    Ok(bytes)
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
    let bytes = to_bytes(layout, values, precision, metadata)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        // The write's own error is the one to report; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
        WeightsError::Io { file: path.display().to_string(), source }
    })
}
