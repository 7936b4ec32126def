//! What can be wrong with a weight file.

use std::io;

/// Why weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// Not a safetensors file, or one that was cut or altered.
    #[error("{file}: not a whole safetensors file ({length} bytes): {source}")]
    Damaged {
        /// The file.
        file: String,
        /// Its length in bytes.
        length: usize,
        /// What the format says.
        source: safetensors::SafeTensorError,
    },
    /// The model has a tensor that the file lacks.
    #[error("{file}: tensor `{tensor}` is missing{}", and_more(*others))]
    Missing {
        /// The file.
        file: String,
        /// The first missing tensor.
        tensor: String,
        /// How many more are missing.
        others: usize,
    },
    /// A tensor of another shape.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, the model's has {expected:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// A tensor whose numbers are not floating-point ones we read.
    #[error("{file}: tensor `{tensor}` holds {found}, expected F64, F32, F16 or BF16")]
    NumberFormat {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The format in the file.
        found: String,
    },
    /// A weight that is NaN or infinite.
    #[error("{file}: element {index} of tensor `{tensor}` is {value}")]
    NonFinite {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Row-major index of the element.
        index: usize,
        /// NaN, +∞ or −∞.
        value: f64,
    },
    /// Values given for another number of tensors than the layout has.
    #[error("{found} tensors given, the layout has {expected}")]
    Count {
        /// Entries of the layout.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// Values of another length than their entry has.
    #[error("{found} values given for tensor `{tensor}` of shape {expected:?}")]
    Length {
        /// The tensor.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}
