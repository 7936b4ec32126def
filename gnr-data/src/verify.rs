//! Search for files that are damaged or cannot be read: every file of a known format below a folder is read to its end.

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{DataError, Result};
use crate::source::decode::decode;
use crate::source::gzip::Members;
use crate::source::walk::{Kind, entries, is_hidden, is_image_name};
use crate::source::{cifar, idx, mat_variables};

/// The result of [`verify`].
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Number of files that were read to their end.
    pub checked: usize,
    /// Number of files of no known format.
    pub skipped: usize,
    /// The damaged files with the reason, sorted by path.
    pub damaged: Vec<(PathBuf, DataError)>,
    /// Files that show no damage, but have a kind or layout that is not read, with the reason; sorted by path.
    pub unread: Vec<(PathBuf, DataError)>,
}

/// The formats that can be checked, recognised by the names of files.
enum Format {
    Image,
    Idx { rank: u8 },
    CifarBinary,
    CifarPickle,
    Mat,
    Gzip,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        // A name that is not UTF-8 still has an ending.
        let lower = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let extension = lower.rsplit_once('.').map_or("", |(_, extension)| extension);
        let idx = |rank: u8| lower.contains(&format!("idx{rank}-ubyte")).then_some(Self::Idx { rank });
        idx(1).or_else(|| idx(3)).or_else(|| match extension {
            _ if is_image_name(path) => Some(Self::Image),
            "bin" if matches!(lower.as_str(), "train.bin" | "test.bin" | "test_batch.bin") => {
                Some(Self::CifarBinary)
            }
            "bin" if lower.starts_with("data_batch_") => Some(Self::CifarBinary),
            "mat" => Some(Self::Mat),
            "gz" | "tgz" => Some(Self::Gzip),
            "" if lower.starts_with("data_batch_") || lower == "test_batch" => Some(Self::CifarPickle),
            // CIFAR-100's Python version has files of these names, but other files may have them, too.
            "" if matches!(lower.as_str(), "train" | "test") && starts_as_pickle(path) => {
                Some(Self::CifarPickle)
            }
            _ => None,
        })
    }

    fn check(&self, path: &Path) -> Result<()> {
        match self {
            Self::Image => decode(path).map(drop),
            Self::Idx { rank } => idx::read_idx(path, *rank).map(drop),
            Self::CifarBinary => cifar::check_binary(path),
            Self::CifarPickle => cifar::check_pickle(path),
            Self::Mat => mat_variables(path).map(drop),
            Self::Gzip => gunzip(path),
        }
    }
}

fn starts_as_pickle(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && matches!(start, [0x80, 2..=5])
}

/// Decompresses a file without storing the output, which checks its blocks and its checksum.
fn gunzip(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path).map_err(DataError::io(path, "open"))?;
    decompress(path, std::io::BufReader::new(file))
}

/// Decompresses like [`gunzip`]; `reader` reads the file at `path`.
pub(crate) fn decompress(path: &Path, reader: impl BufRead) -> Result<()> {
    let mut decoder = Members::new(reader);
    let (mut buffer, mut offset) = (vec![0; 1 << 16], 0);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => offset += count as u64,
            Err(source) => return Err(DataError::Gzip { path: path.to_path_buf(), offset, source }),
        }
    }
}

/// Reads every file of a known format at or below `path`, on all cores. Images are decoded, IDX, CIFAR and MAT-files
/// parsed, gzip files decompressed.
///
/// `progress` is called with (done, of). Hidden files are left out. Links to folders are followed, as image folders are
/// read; a folder to which several links lead is checked once, and a link to a folder around it is left out.
///
/// # Errors
/// [`DataError::Io`] when a folder cannot be listed, [`DataError::NoImages`] when there is nothing to check. Damage is
/// reported, and is no error of this function.
pub fn verify(path: &Path, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<VerifyReport> {
    let mut files = Vec::new();
    let mut skipped = 0;
    collect(path, &mut files, &mut skipped)?;
    if files.is_empty() {
        let reason = format!("nothing to check here ({skipped} files of other kinds)");
        return Err(DataError::NoImages { path: path.to_path_buf(), reason });
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let (done, checked) = (AtomicUsize::new(0), files.len());
    let refused: Vec<(PathBuf, DataError)> = files
        .into_par_iter()
        .filter_map(|(path, format)| {
            let outcome = format.check(&path).err();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, checked);
            outcome.map(|error| (path, error))
        })
        .collect();
    let (damaged, unread) = refused.into_iter().partition(|(_, error)| error.is_damage());
    Ok(VerifyReport { checked, skipped, damaged, unread })
}

fn collect(path: &Path, files: &mut Vec<(PathBuf, Format)>, skipped: &mut usize) -> Result<()> {
    if path.is_file() {
        match Format::of(path) {
            Some(format) => files.push((path.to_path_buf(), format)),
            None => *skipped += 1,
        }
        return Ok(());
    }
    let (mut folders, mut linked_to) = (vec![path.to_path_buf()], HashSet::new());
    while let Some(folder) = folders.pop() {
        for (path, kind) in entries(&folder)? {
            if is_hidden(path.file_name().unwrap_or_default()) {
                continue;
            }
            match kind {
                Kind::Folder { linked: false } => folders.push(path),
                Kind::Folder { linked: true } => {
                    let real =
                        |path: &Path| std::fs::canonicalize(path).map_err(DataError::io(path, "follow"));
                    let (here, target) = (real(&folder)?, real(&path)?);
                    if here.starts_with(&target) {
                        *skipped += 1;
                    } else if linked_to.insert(target) {
                        folders.push(path);
                    }
                }
                Kind::Special => *skipped += 1,
                // A link that leads nowhere is an error when it is read.
                Kind::File | Kind::Nowhere => match Format::of(&path) {
                    Some(format) => files.push((path, format)),
                    None => *skipped += 1,
                },
            }
        }
    }
    Ok(())
}
