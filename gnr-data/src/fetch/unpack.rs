//! Unpacking of untrusted archives: files and folders only, inside the target only, within a bound.
//!
//! Links of either kind, devices, absolute paths and `..` end the unpacking with an error. Nothing is written through a
//! symbolic link that already exists. Files appear in their place when all of them are unpacked.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::FetchEvent;
use super::staging::Staging;
use crate::error::{DataError, Result};
use crate::registry::{Download, Unpack};

/// Largest number of entries of an archive; ImageNet's has 1.3 million.
const MAX_ENTRIES: u64 = 4_000_000;

/// The path of the mark of an unpacked archive: its MD5 checksum, and a line for each path that it made at the top.
fn mark(dir: &Path, file: &str) -> PathBuf {
    dir.join(format!(".{file}.unpacked"))
}

/// Whether the archive `file` of this checksum was unpacked completely into `dir` and what it made is still there. A
/// mark without paths, as older programs wrote it, does not tell.
pub(super) fn is_unpacked(dir: &Path, file: &str, md5: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(mark(dir, file)) else { return false };
    let mut lines = text.lines();
    let (of, mut made) = (lines.next(), lines.peekable());
    of == Some(md5) && made.peek().is_some() && made.all(|path| dir.join(path).exists())
}

/// Whether an older program marked the archive `file` of this checksum as unpacked, without saying what it made.
pub(super) fn has_old_mark(dir: &Path, file: &str, md5: &str) -> bool {
    std::fs::read_to_string(mark(dir, file)).is_ok_and(|text| text.trim() == md5)
}

/// Records that the archive `file` of this checksum was unpacked completely and made these paths.
///
/// # Errors
/// [`DataError::Io`] if the mark cannot be written.
pub(super) fn mark_unpacked(dir: &Path, file: &str, md5: &str, made: &[String]) -> Result<()> {
    let path = mark(dir, file);
    let text: String =
        std::iter::once(md5).chain(made.iter().map(String::as_str)).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).map_err(DataError::io(&path, "write"))
}

/// Unpacks the file at `path` into `dir`, by the rules of its `download`. Returns the paths below `dir` that it made at
/// the top, sorted.
pub(super) fn unpack(
    path: &Path,
    download: &Download,
    dir: &Path,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<Vec<String>> {
    let (Unpack::Zip { into } | Unpack::Tar { into } | Unpack::TarOfTars { into }) = download.unpack else {
        return Ok(Vec::new());
    };
    let mut target = Target {
        archive: path,
        file: download.file,
        left: download.limit,
        limit: download.limit,
        entries: 0,
        files: 0,
        buffer: vec![0; 1 << 16],
        progress,
    };
    let mut reader = File::open(path).map(BufReader::new).map_err(DataError::io(path, "open"))?;
    let staging = Staging::begin(dir, into, download.file)?;
    let root = staging.folder();
    match download.unpack {
        Unpack::Keep => {}
        Unpack::Zip { .. } => target.zip(reader, root)?,
        Unpack::TarOfTars { .. } => target.tar(&mut reader, root, true)?,
        Unpack::Tar { .. } => {
            let gzipped = reader.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
            match gzipped {
                true => target.tar(&mut MultiGzDecoder::new(reader), root, false)?,
                false => target.tar(&mut reader, root, false)?,
            }
        }
    }
    let made = staging.top()?.into_iter().map(|name| {
        let folder = staging.folder().join(&name).is_dir();
        // Somebody may sort plain files below `into` into folders of classes: `into` stands for them.
        let path = if folder || into.is_empty() { Path::new(into).join(name) } else { PathBuf::from(into) };
        path.to_string_lossy().into_owned()
    });
    let mut made: Vec<String> = made.collect();
    made.dedup();
    staging.finish(&|entry, reason| target.refuse(entry, reason))?;
    Ok(made)
}

struct Target<'a> {
    archive: &'a Path,
    file: &'a str,
    /// Number of bytes that may still be written.
    left: u64,
    limit: u64,
    entries: u64,
    files: u64,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(FetchEvent<'_>),
}

impl Target<'_> {
    fn refuse(&self, entry: &str, reason: impl Into<String>) -> DataError {
        DataError::UnsafeArchive {
            path: self.archive.to_path_buf(),
            entry: entry.to_string(),
            reason: reason.into(),
        }
    }

    /// The error of an archive that could not be read: that of the system, or damage.
    fn unreadable(&self, source: std::io::Error) -> DataError {
        let path = self.archive.to_path_buf();
        match source.raw_os_error() {
            Some(_) => DataError::Io { path, action: "read", source },
            None => DataError::Archive { path, reason: source.to_string() },
        }
    }

    /// Unpacks a tar archive into `root`. In a tar of tars, each inner archive gets a folder of its name.
    fn tar(&mut self, reader: &mut dyn Read, root: &Path, nested: bool) -> Result<()> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|error| self.unreadable(error))? {
            let mut entry = entry.map_err(|error| self.unreadable(error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind == tar::EntryType::XGlobalHeader {
                continue;
            }
            let path = self.place(root, &name)?;
            match kind {
                tar::EntryType::Directory => self.folder(root, &path, &name)?,
                tar::EntryType::Regular | tar::EntryType::Continuous if nested => {
                    if path.extension().is_none_or(|extension| extension != "tar") {
                        return Err(self.refuse(&name, "not a tar archive, as all entries should be"));
                    }
                    self.tar(&mut entry, &path.with_extension(""), false)?;
                }
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = entry.size();
                    self.write(root, &path, &name, size, &mut entry)?;
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    return Err(self.refuse(&name, "a link; data sets need none"));
                }
                other => return Err(self.refuse(&name, format!("an entry of type {other:?}"))),
            }
        }
        Ok(())
    }

    fn zip(&mut self, reader: BufReader<File>, root: &Path) -> Result<()> {
        let damaged = |archive: &Path, error: zip::result::ZipError| {
            let (path, reason) = (archive.to_path_buf(), error.to_string());
            DataError::Archive { path, reason }
        };
        let mut archive = zip::ZipArchive::new(reader).map_err(|error| damaged(self.archive, error))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|error| damaged(self.archive, error))?;
            let name = entry.name().map_err(|error| damaged(self.archive, error))?.into_owned();
            let path = self.place(root, &name)?;
            if entry.is_symlink() {
                return Err(self.refuse(&name, "a link; data sets need none"));
            }
            match entry.is_dir() {
                true => self.folder(root, &path, &name)?,
                false => {
                    let size = entry.size();
                    self.write(root, &path, &name, size, &mut entry)?;
                }
            }
        }
        Ok(())
    }

    /// The path to which an entry is unpacked; an error if it would leave `root`.
    fn place(&mut self, root: &Path, name: &str) -> Result<PathBuf> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.refuse(name, format!("more than {MAX_ENTRIES} entries")));
        }
        if name.contains('\\') {
            return Err(self.refuse(name, "a backslash in its path"));
        }
        let mut path = root.to_path_buf();
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => return Err(self.refuse(name, "its path leads out of the folder")),
            }
        }
        Ok(path)
    }

    /// Makes a folder, and those above it up to `root`.
    fn folder(&self, root: &Path, path: &Path, name: &str) -> Result<()> {
        // The folder of an archive within an archive does not exist before its first entry is written.
        std::fs::create_dir_all(root).map_err(DataError::io(root, "create"))?;
        let mut at = root.to_path_buf();
        for part in path.strip_prefix(root).unwrap_or(path).components() {
            at.push(part);
            match std::fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let earlier = at.strip_prefix(root).unwrap_or(&at).display();
                    return Err(self.refuse(name, format!("`{earlier}`, an entry before, is no folder")));
                }
                Err(_) => std::fs::create_dir(&at).map_err(DataError::io(&at, "create"))?,
            }
        }
        Ok(())
    }

    fn write(&mut self, root: &Path, path: &Path, name: &str, size: u64, from: &mut impl Read) -> Result<()> {
        if size > self.left {
            return Err(self.refuse(name, format!("more than the limit of {} bytes in all", self.limit)));
        }
        let Some(parent) = path.parent().filter(|_| path != root) else {
            return Err(self.refuse(name, "a file without a name"));
        };
        self.folder(root, parent, name)?;
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(self.refuse(name, "an entry of this name before is no plain file"));
        }
        let mut file = File::create(path).map_err(DataError::io(path, "create"))?;
        // A byte beyond the declared size is read to detect an entry that is longer than it says.
        let mut from = from.take(size.saturating_add(1));
        let mut written = 0;
        // `std::io::copy` is not used because its errors do not tell reading from writing.
        loop {
            match from.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    file.write_all(&self.buffer[..count]).map_err(DataError::io(path, "write"))?;
                    written += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        if written != size {
            let reason = format!("{size} bytes are declared, {written} were there");
            return Err(self.refuse(name, reason));
        }
        self.left -= written;
        self.files += 1;
        (self.progress)(FetchEvent::Unpacking {
            file: self.file,
            files: self.files,
            done: self.limit - self.left,
        });
        Ok(())
    }
}
