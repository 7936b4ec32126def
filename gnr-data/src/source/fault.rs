//! Faults of a file in a structured format. Only a file that breaks the rules of its format is called damaged; a sound
//! file may still be of a kind that is not read here.

use std::path::Path;

use crate::error::DataError;

/// The reason why a file cannot be read, and the offset (within the decompressed element where it is compressed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) reason: String,
    pub(super) fault: Fault,
}

/// The kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file is damaged: cut, or declaring something impossible.
    Damaged,
    /// The file is sound: another program wrote it, or it holds something else.
    Unknown,
    /// The file is of a kind of the format that this crate does not read.
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
