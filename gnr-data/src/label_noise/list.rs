//! Lists of labels, one for each image of a training set: text or NumPy arrays.

use std::path::Path;

use super::npy;
use crate::error::{DataError, Result};
use crate::source::text::decode_text;

/// The `expected` labels of a list, each below `classes`.
pub(super) fn read(path: &Path, expected: usize, classes: usize) -> Result<Vec<usize>> {
    let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
    let named_npy = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    // Labels with the number of their line or element.
    let (unit, labels): (_, Vec<(usize, i128)>) = if named_npy || bytes.starts_with(npy::MAGIC) {
        ("element", npy::integers(path, &bytes)?.into_iter().enumerate().collect())
    } else {
        ("line", text(path, &bytes)?)
    };
    if labels.len() != expected {
        return Err(DataError::ListLength { path: path.to_path_buf(), expected, found: labels.len() });
    }
    (labels.into_iter().enumerate())
        .map(|(image, (number, label))| match usize::try_from(label) {
            Ok(label) if label < classes => Ok(label),
            _ => {
                let place = format!("{unit} {number}");
                Err(DataError::ListLabel { path: path.to_path_buf(), place, image, label, classes })
            }
        })
        .collect()
}

fn text(path: &Path, bytes: &[u8]) -> Result<Vec<(usize, i128)>> {
    let bad = |line: usize, reason: String| DataError::BadLine { path: path.to_path_buf(), line, reason };
    let whole = decode_text(bytes).map_err(|error| {
        bad(error.line, format!("expected a label a line, or a NumPy array; found {}", error.reason))
    })?;
    let mut labels = Vec::new();
    for (line, text) in (1..).zip(whole.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let label = text
            .parse()
            .map_err(|_| bad(line, format!("expected a label, a whole number; found `{text}`")))?;
        labels.push((line, label));
    }
    Ok(labels)
}
