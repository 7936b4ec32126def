//! Unpacking archives without trusting them: files and folders only, inside the target only, within a bound.
//!
//! Links of either kind, devices, absolute paths and `..` end the unpacking with an error, and nothing is written through a
//! symbolic link that is already there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::FetchEvent;
use crate::error::{DataError, Result};
use crate::registry::{Download, Unpack};

/// Bound on the number of entries: ImageNet has 1.3 million.
const MAX_ENTRIES: u64 = 4_000_000;

/// Does with the file at `path` what its `download` says, below `dir`.
pub(super) fn unpack(
    path: &Path,
    download: &Download,
    dir: &Path,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<()> {
    let mut target = Target {
        archive: path,
        file: download.file,
        left: download.limit,
        limit: download.limit,
        entries: 0,
        files: 0,
        progress,
    };
    let open = || File::open(path).map(BufReader::new).map_err(DataError::io(path, "open"));
    match download.unpack {
        Unpack::Keep => Ok(()),
        Unpack::Zip { into } => target.zip(open()?, &dir.join(into)),
        Unpack::Tar { into } => {
            let mut reader = open()?;
            let gzipped = reader.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
            match gzipped {
                true => target.tar(&mut MultiGzDecoder::new(reader), &dir.join(into), false),
                false => target.tar(&mut reader, &dir.join(into), false),
            }
        }
        Unpack::TarOfTars { into } => target.tar(&mut open()?, &dir.join(into), true),
    }
}

struct Target<'a> {
    archive: &'a Path,
    file: &'a str,
    /// Bytes that may still be written.
    left: u64,
    limit: u64,
    entries: u64,
    files: u64,
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

    fn damaged(&self, error: &std::io::Error) -> DataError {
        DataError::Decode { path: self.archive.to_path_buf(), reason: format!("damaged archive: {error}") }
    }

    /// Unpacks a tar archive into `root`; of a tar of tars, each inner one into a folder of its name.
    fn tar(&mut self, reader: &mut dyn Read, root: &Path, nested: bool) -> Result<()> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|error| self.damaged(&error))? {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
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
        let damaged = |archive: &Path, error: zip::result::ZipError| DataError::Decode {
            path: archive.to_path_buf(),
            reason: format!("damaged archive: {error}"),
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

    /// Where an entry belongs.
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

    /// Makes a folder and those above it up to `root`; a symbolic link among them is refused.
    fn folder(&self, root: &Path, path: &Path, name: &str) -> Result<()> {
        std::fs::create_dir_all(root).map_err(DataError::io(root, "create"))?;
        let mut at = root.to_path_buf();
        for part in path.strip_prefix(root).unwrap_or(path).components() {
            at.push(part);
            match std::fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(self.refuse(name, format!("{} is there and no folder", at.display()))),
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
            return Err(self.refuse(name, format!("{} is there and no plain file", path.display())));
        }
        let mut file = File::create(path).map_err(DataError::io(path, "create"))?;
        // One byte more than declared would be a lie about the size.
        let written = std::io::copy(&mut from.take(size.saturating_add(1)), &mut file);
        let written = written.map_err(|error| self.damaged(&error))?;
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
