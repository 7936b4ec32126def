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
    /// Not a PyTorch checkpoint, or one that was cut or altered, or one that holds what is not tensors.
    #[error("{file}: cannot be read as a PyTorch checkpoint ({length} bytes): {source}")]
    Torch {
        /// The file.
        file: String,
        /// Its length in bytes.
        length: u64,
        /// What the parser says, naming opcode, class or storage.
        source: Box<pytorch_reader::PytorchError>,
    },
    /// The data of a tensor in a PyTorch checkpoint.
    #[error("{file}: {source}")]
    Storage {
        /// The file.
        file: String,
        /// What is wrong, naming tensor and storage.
        source: io::Error,
    },
    /// A tensor that claims to be larger than the file it is in.
    #[error("{file}: tensor `{tensor}` claims {claimed} bytes, but the whole file has {length}")]
    TooLarge {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its number of elements times their size.
        claimed: u64,
        /// Length of the file in bytes.
        length: u64,
    },
    /// Tensors that the model does not have, where none are allowed.
    #[error("{file}: the model has no tensor `{tensor}`{}", and_more(*others))]
    Unexpected {
        /// The file.
        file: String,
        /// The first such tensor.
        tensor: String,
        /// How many more there are.
        others: usize,
    },
    /// A file of which no tensor fits the model.
    #[error("{file}: no tensor fits the model: it has {found}, the model {expected}")]
    NothingFits {
        /// The file.
        file: String,
        /// Some names and shapes in the file.
        found: String,
        /// Some names and shapes of the model.
        expected: String,
    },
    /// A key that selects no tensor.
    #[error("{file}: no tensor under `{key}`; top-level names are {known}")]
    NoSuchKey {
        /// The file.
        file: String,
        /// What was asked for.
        key: String,
        /// The first parts of the names in the file.
        known: String,
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
