//! What is wrong with a file of a structured format: it breaks the rules, or it is well and not what is read here. Only
//! the first is called damage.

use std::path::Path;

use crate::error::DataError;

/// Why a file cannot be read: what, and where (within the decompressed element where it is compressed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) reason: String,
    pub(super) fault: Fault,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file's: it is cut, or declares what cannot be.
    Damaged,
    /// Nobody's: another program wrote it, or it is of something else.
    Unknown,
    /// Ours: a kind of the format that is not read.
    Unsupported,
}

impl Malformed {
    pub(super) fn into_error(self, path: &Path, format: &'static str) -> DataError {
        let (path, reason, offset) = (path.to_path_buf(), self.reason, self.offset as u64);
        match self.fault {
            Fault::Damaged => DataError::Malformed { path, format, offset, reason },
            Fault::Unknown => DataError::UnknownLayout { path, format, reason },
            Fault::Unsupported => DataError::Unsupported { path, reason },
        }
    }
}
