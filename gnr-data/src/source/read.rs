//! Reading of whole files, plain or gzipped, without trusting the sizes that they declare.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::gzip::Members;
use crate::error::{DataError, Result};

/// The largest expansion by deflate: 258 bytes from a two-bit code (RFC 1951).
const MAX_EXPANSION: u64 = 1032;
/// Number of bytes to reserve for each byte of a gzip file at first. MNIST's images expand 4.7 times.
const LIKELY_EXPANSION: u64 = 6;

/// A file open for reading. It is decompressed on the fly when it starts with gzip's magic number, whatever its name.
pub(super) struct Input<'a> {
    path: &'a Path,
    reader: Kind<'a>,
    /// Upper bound of the uncompressed length, in bytes.
    bound: u64,
    /// Number of bytes that may be reserved at once.
    likely: u64,
    /// Number of uncompressed bytes read so far.
    offset: u64,
}

enum Kind<'a> {
    Plain(Box<dyn BufRead + 'a>),
    Gzip(Box<Members<Box<dyn BufRead + 'a>>>),
}

impl<'a> Input<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(DataError::io(path, "open"))?;
        let length = file.metadata().map_err(DataError::io(path, "read the length of"))?.len();
        Self::new(path, Box::new(BufReader::new(file)), length)
    }

    /// Reads the file at `path` from its contents, which are in memory.
    #[cfg(feature = "testing")]
    pub(super) fn bytes(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        Self::new(path, Box::new(bytes), bytes.len() as u64)
    }

    fn new(path: &'a Path, mut reader: Box<dyn BufRead + 'a>, length: u64) -> Result<Self> {
        let gzipped = reader.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
        Ok(if gzipped {
            let bound = length.saturating_mul(MAX_EXPANSION);
            let likely = length.saturating_mul(LIKELY_EXPANSION);
            Self { path, reader: Kind::Gzip(Box::new(Members::new(reader))), bound, likely, offset: 0 }
        } else {
            Self { path, reader: Kind::Plain(reader), bound: length, likely: length, offset: 0 }
        })
    }

    /// Reads exactly `length` more bytes, which errors call `what`.
    ///
    /// Memory grows with the bytes that are really there, so a false header costs nothing.
    pub(super) fn exactly(&mut self, length: u64, what: &str) -> Result<Vec<u8>> {
        let expected = self.offset.saturating_add(length);
        let mut bytes = Vec::new();
        let reserve = length.min(self.likely.saturating_sub(self.offset));
        if expected > self.bound
            || bytes.try_reserve_exact(usize::try_from(reserve).unwrap_or(usize::MAX)).is_err()
        {
            // The file cannot be complete: it is read on to find where the data end.
            let found = self.offset + self.count_rest()?;
            return Err(self.truncated(what, expected, found));
        }
        self.fill(length, &mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(self.truncated(what, expected, self.offset));
        }
        Ok(bytes)
    }

    /// Reads at most `limit` more bytes, as many as can be read.
    pub(super) fn some(&mut self, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        // An error is reported where the bytes are needed.
        let _ = self.fill(limit, &mut bytes);
        bytes
    }

    /// Fails when anything follows, and verifies gzip's checksums.
    pub(super) fn end(mut self) -> Result<()> {
        let offset = self.offset;
        let mut more = Vec::new();
        self.fill(1, &mut more)?;
        match more.is_empty() {
            true => Ok(()),
            false => Err(DataError::TrailingBytes { path: self.path.to_path_buf(), offset }),
        }
    }

    fn fill(&mut self, limit: u64, bytes: &mut Vec<u8>) -> Result<()> {
        let read = match &mut self.reader {
            Kind::Plain(reader) => reader.by_ref().take(limit).read_to_end(bytes),
            Kind::Gzip(reader) => reader.by_ref().take(limit).read_to_end(bytes),
        };
        let failed = read.err();
        self.offset += bytes.len() as u64;
        match failed {
            Some(source) => Err(self.failure(source)),
            None => Ok(()),
        }
    }

    fn count_rest(&mut self) -> Result<u64> {
        let rest = match &mut self.reader {
            Kind::Plain(reader) => std::io::copy(reader, &mut std::io::sink()),
            Kind::Gzip(reader) => std::io::copy(reader, &mut std::io::sink()),
        };
        rest.map_err(|source| self.failure(source))
    }

    fn failure(&self, source: std::io::Error) -> DataError {
        let path = self.path.to_path_buf();
        match self.reader {
            Kind::Plain(_) => DataError::Io { path, action: "read", source },
            Kind::Gzip(_) => DataError::Gzip { path, offset: self.offset, source },
        }
    }

    fn truncated(&self, what: &str, expected: u64, found: u64) -> DataError {
        DataError::Truncated { path: self.path.to_path_buf(), what: what.to_string(), expected, found }
    }
}
