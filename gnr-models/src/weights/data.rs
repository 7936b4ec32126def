//! The bytes of a weight file, in memory or on disk. Those on disk are read when they are asked for.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Bytes that are read in ranges.
pub(super) enum Data {
    Memory(Vec<u8>),
    File { file: Mutex<fs::File>, length: u64 },
}

impl Data {
    /// Opens a file. Its length is taken now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self::File { file: Mutex::new(file), length })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Reads `length` bytes from `start`. A range beyond the end is an error before memory is reserved.
    pub(super) fn read(&self, start: u64, length: u64) -> io::Result<Cow<'_, [u8]>> {
        let ends = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let end = start.checked_add(length).filter(|&end| end <= self.len()).ok_or_else(ends)?;
        let size = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        match self {
            Self::Memory(bytes) => {
                bytes.get(start as usize..end as usize).map(Cow::Borrowed).ok_or_else(ends)
            }
            Self::File { file, .. } => {
                let mut bytes = vec![0; size];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// CRC-32C of all bytes, of which a megabyte at a time is in memory.
    pub(super) fn checksum(&self) -> io::Result<u32> {
        const PIECE: u64 = 1 << 20;
        let (mut sum, mut start) = (0, 0);
        while start < self.len() {
            let length = PIECE.min(self.len() - start);
            sum = crc32c::crc32c_append(sum, &self.read(start, length)?);
            start += length;
        }
        Ok(sum)
    }

    /// Reads up to `length` bytes from the start of the file.
    pub(super) fn head(&self, length: u64) -> io::Result<Cow<'_, [u8]>> {
        self.read(0, length.min(self.len()))
    }
}
