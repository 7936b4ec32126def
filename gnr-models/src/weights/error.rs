//! What can be wrong with a weight file.

use std::io;

/// Why weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{file}: cannot be read or written: {source}")]
    Io {
        /// Name of the file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("{file}: not a weight file but {what}; {advice}")]
    NotWeights {
        /// Name of the file.
        file: String,
        /// What it is.
        what: String,
        /// What to do.
        advice: String,
    },
    /// A checkpoint of a kind that is not read.
    #[error("{file}: {what}; {advice}")]
    Unsupported {
        /// Name of the file.
        file: String,
        /// What it is.
        what: String,
        /// What to do.
        advice: String,
    },
    /// A file that was cut or altered.
    #[error("{file}: not a whole {format} file ({length} bytes): {problem}")]
    Incomplete {
        /// Name of the file.
        file: String,
        /// What it was to be.
        format: &'static str,
        /// Its length in bytes.
        length: u64,
        /// What is missing or wrong, and where.
        problem: String,
    },
    /// A file whose structure would fill the memory: it was made to, or is no weight file.
    #[error("{file}: lists more objects than its {length} bytes justify; it was not read")]
    TooManyObjects {
        /// Name of the file.
        file: String,
        /// Its length in bytes.
        length: u64,
    },
    /// Not a safetensors file, or one that was cut or altered.
    #[error("{file}: not a whole safetensors file ({length} bytes): {source}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// Its length in bytes.
        length: usize,
        /// What the format says.
        source: safetensors::SafeTensorError,
    },
    /// The numbers of a tensor in a PyTorch checkpoint.
    #[error("{file}: tensor `{tensor}`: {problem}")]
    Storage {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong with its storage.
        problem: String,
    },
    /// A tensor that claims to be larger than the file it is in.
    #[error("{file}: tensor `{tensor}` claims {claimed} bytes, but the whole file has {length}")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Its number of elements times their size.
        claimed: u64,
        /// Length of the file in bytes.
        length: u64,
    },
    /// Tensors that the model does not have, where none are allowed.
    #[error("{file}: the model has no tensor `{tensor}`{}", and_more(*others))]
    Unexpected {
        /// Name of the file.
        file: String,
        /// The first such tensor.
        tensor: String,
        /// How many more there are.
        others: usize,
    },
    /// A file of which no tensor fits the model.
    #[error("{file}: no tensor fits the model: it has {found}, the model {expected}")]
    NothingFits {
        /// Name of the file.
        file: String,
        /// Some names and shapes in the file.
        found: String,
        /// Some names and shapes of the model.
        expected: String,
    },
    /// A file that holds no tensor that can be read.
    #[error("{file}: holds no tensor that can be read{unread}")]
    NoTensors {
        /// Name of the file.
        file: String,
        /// What it holds in their place; empty if nothing.
        unread: String,
    },
    /// A key that selects no tensor.
    #[error("{file}: no tensor under `{key}`; top-level names are {known}")]
    NoSuchKey {
        /// Name of the file.
        file: String,
        /// What was asked for.
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
        /// How many more are missing.
        others: usize,
        /// What the file has in its place, or what to do; empty if there is nothing to say.
        note: String,
    },
    /// A tensor of another shape.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, the model's has {expected:?}{note}")]
    Shape {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
        /// What to do; empty if there is nothing to say.
        note: String,
    },
    /// A tensor whose numbers are not floating-point ones we read.
    #[error("{file}: tensor `{tensor}` holds {found}, expected F64, F32, F16 or BF16")]
    NumberFormat {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// The format in the file.
        found: String,
    },
    /// A weight that is NaN or infinite.
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
    /// Values given for another number of tensors than the layout has.
    #[error("{found} tensors given, the layout has {expected}")]
    Count {
        /// Entries of the layout.
        expected: usize,
        /// Number of tensors given.
        found: usize,
    },
    /// Values of another length than their entry has.
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
