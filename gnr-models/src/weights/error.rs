//! Errors of reading and writing weight files.

use std::io;

/// The reasons why weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{file}: cannot be read or written: {source}")]
    Io {
        /// Name of the file.
        file: String,
        /// The reason that the system gives.
        source: io::Error,
    },
    /// The file is of another kind.
    #[error("{file}: not a weight file but {what}; {advice}")]
    NotWeights {
        /// Name of the file.
        file: String,
        /// The kind of the file.
        what: String,
        /// Advice to the user.
        advice: String,
    },
    /// The file is a checkpoint of a kind that is not read.
    #[error("{file}: {what}; {advice}")]
    Unsupported {
        /// Name of the file.
        file: String,
        /// The kind of the checkpoint.
        what: String,
        /// Advice to the user.
        advice: String,
    },
    /// The file was cut or altered.
    #[error("{file}: not a whole {format} file ({length} bytes): {problem}")]
    Incomplete {
        /// Name of the file.
        file: String,
        /// The format that the file should have.
        format: &'static str,
        /// Length of the file in bytes.
        length: u64,
        /// The part that is missing or wrong, and its place.
        problem: String,
    },
    /// The structure of the file would fill the memory: the file was made to do so, or is no weight file.
    #[error("{file}: lists more objects than its {length} bytes justify; it was not read")]
    TooManyObjects {
        /// Name of the file.
        file: String,
        /// Length of the file in bytes.
        length: u64,
    },
    /// The file is no safetensors file, or one that was cut or altered.
    #[error("{file}: not a whole safetensors file ({length} bytes): {source}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// Length of the file in bytes.
        length: usize,
        /// The reason that the format's reader gives.
        source: safetensors::SafeTensorError,
    },
    /// The numbers of a tensor in a PyTorch checkpoint cannot be read.
    #[error("{file}: tensor `{tensor}`: {problem}")]
    Storage {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// The fault of the tensor's storage.
        problem: String,
    },
    /// A tensor claims to be larger than the file it is in.
    #[error("{file}: tensor `{tensor}` claims {claimed} bytes, but the whole file has {length}")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Number of elements times their size in bytes.
        claimed: u64,
        /// Length of the file in bytes.
        length: u64,
    },
    /// The file has tensors that the model does not have, where none are allowed.
    #[error("{file}: the model has no tensor `{tensor}`{}", and_more(*others))]
    Unexpected {
        /// Name of the file.
        file: String,
        /// The first such tensor.
        tensor: String,
        /// Number of further such tensors.
        others: usize,
    },
    /// No tensor of the file fits the model.
    #[error("{file}: no tensor fits the model: it has {found}, the model {expected}")]
    NothingFits {
        /// Name of the file.
        file: String,
        /// Some names and shapes in the file.
        found: String,
        /// Some names and shapes of the model.
        expected: String,
    },
    /// The file holds no tensor that can be read.
    #[error("{file}: holds no tensor that can be read{unread}")]
    NoTensors {
        /// Name of the file.
        file: String,
        /// The objects that the file holds instead; empty if there are none.
        unread: String,
    },
    /// The key selects no tensor.
    #[error("{file}: no tensor under `{key}`; top-level names are {known}")]
    NoSuchKey {
        /// Name of the file.
        file: String,
        /// The key that was asked for.
        key: String,
        /// The first parts of the names in the file.
        known: String,
    },
    /// The model has a tensor that the file lacks.
    #[error("{file}: tensor `{tensor}` is missing{}{note}", and_more(*others))]
    Missing {
        /// Name of the file.
        file: String,
        /// The first missing tensor.
        tensor: String,
        /// Number of further missing tensors.
        others: usize,
        /// The object that the file has in its place, or advice; empty if there is nothing to say.
        note: String,
    },
    /// A tensor of the file has another shape than the model's.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, the model's has {expected:?}{note}")]
    Shape {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Shape of the tensor in the model.
        expected: Vec<usize>,
        /// Shape of the tensor in the file.
        found: Vec<usize>,
        /// Advice to the user; empty if there is nothing to say.
        note: String,
    },
    /// The numbers of a tensor are in no floating-point format that is read.
    #[error("{file}: tensor `{tensor}` holds {found}, expected F64, F32, F16 or BF16")]
    NumberFormat {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// The format in the file.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{file}: element {index} of tensor `{tensor}` is {value}")]
    NonFinite {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Row-major index of the element.
        index: usize,
        /// NaN, +∞ or −∞.
        value: f64,
    },
    /// The number of tensors given differs from the layout's.
    #[error("{found} tensors given, the layout has {expected}")]
    Count {
        /// Entries of the layout.
        expected: usize,
        /// Number of tensors given.
        found: usize,
    },
    /// The number of values given for a tensor does not fit its shape.
    #[error("{found} values given for tensor `{tensor}` of shape {expected:?}")]
    Length {
        /// Name of the tensor.
        tensor: String,
        /// Shape of the tensor.
        expected: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}
