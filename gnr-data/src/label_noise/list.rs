//! Lists of labels for the images of a training set, as text or NumPy arrays.

use std::path::Path;

use super::npy;
use crate::error::{DataError, Result};
use crate::source::text::{decode_text, excerpt};

/// Reads the `expected` labels of a list, each below `classes`.
pub(super) fn read(path: &Path, expected: usize, classes: usize) -> Result<Vec<usize>> {
    let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
    parse(path, &bytes, expected, classes)
}

/// Parses a list like [`read`], from the contents `bytes` of the file at `path`.
pub(crate) fn parse(path: &Path, bytes: &[u8], expected: usize, classes: usize) -> Result<Vec<usize>> {
    let named_npy = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    let mut labels = Labels { path, expected, classes, labels: Vec::new(), found: 0, refused: None };
    // Memory is reserved for as many labels as both the list and the training set can have.
    labels.labels.reserve_exact(expected.min(bytes.len()));
    if named_npy || bytes.starts_with(npy::MAGIC) {
        let numbers = npy::integers(path, bytes)?;
        numbers.enumerate().for_each(|(element, label)| labels.add("element", element, label));
    } else {
        text(path, bytes, &mut labels)?;
    }
    labels.finish()
}

/// The labels so far, and the first one that is not a class.
struct Labels<'a> {
    path: &'a Path,
    expected: usize,
    classes: usize,
    labels: Vec<usize>,
    found: usize,
    refused: Option<DataError>,
}

impl Labels<'_> {
    /// Adds the label of the next image; `number` is the number of its line or element, which `unit` names.
    fn add(&mut self, unit: &str, number: usize, label: i128) {
        let image = self.found;
        self.found += 1;
        match usize::try_from(label) {
            _ if image >= self.expected => {}
            Ok(label) if label < self.classes => self.labels.push(label),
            _ if self.refused.is_some() => {}
            _ => {
                let (path, place) = (self.path.to_path_buf(), format!("{unit} {number}"));
                self.refused =
                    Some(DataError::ListLabel { path, place, image, label, classes: self.classes });
            }
        }
    }

    fn finish(self) -> Result<Vec<usize>> {
        if self.found != self.expected {
            let (path, expected, found) = (self.path.to_path_buf(), self.expected, self.found);
            return Err(DataError::ListLength { path, expected, found });
        }
        self.refused.map_or(Ok(self.labels), Err)
    }
}

fn text(path: &Path, bytes: &[u8], labels: &mut Labels<'_>) -> Result<()> {
    let bad = |line: usize, reason: String| DataError::BadLine { path: path.to_path_buf(), line, reason };
    let whole = decode_text(bytes).map_err(|error| {
        bad(error.line, format!("expected a label a line, or a NumPy array; found {}", error.reason))
    })?;
    for (line, text) in (1..).zip(whole.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let label = text
            .parse()
            .map_err(|_| bad(line, format!("expected a label, a whole number; found `{}`", excerpt(text))))?;
        labels.add("line", line, label);
    }
    Ok(())
}
