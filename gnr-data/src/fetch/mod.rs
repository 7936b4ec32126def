//! Getting published data sets: download with resume, checksum, safe unpacking. Feature `fetch`.

mod http;
mod staging;
mod unpack;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use md5::{Digest, Md5};

use crate::error::{DataError, Result};
use crate::registry::{DatasetInfo, Download};

/// How to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// Address of a folder that holds the files, to be tried before the published ones. Default: none.
    pub mirror: Option<String>,
    /// Attempts in a row that may bring nothing before an address is given up. Default 5.
    pub attempts: u32,
    /// Pause after the first failed attempt, doubled with each further one. Default 1 s.
    pub pause: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { mirror: None, attempts: 5, pause: Duration::from_secs(1) }
    }
}

/// What is happening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent<'a> {
    /// Bytes of a file are there, of so many where the server says so.
    Downloading {
        /// Its name.
        file: &'a str,
        /// Bytes there, including those of an earlier attempt.
        done: u64,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// An attempt failed; another one follows.
    Retrying {
        /// Name of the file.
        file: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The checksum is computed.
    Checking {
        /// Name of the file.
        file: &'a str,
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The archive is unpacked.
    Unpacking {
        /// Name of the file.
        file: &'a str,
        /// Files written.
        files: u64,
        /// Bytes written.
        done: u64,
    },
    /// The file is there, checked and unpacked.
    Ready {
        /// Its name.
        file: &'a str,
        /// Whether there was nothing to do.
        already: bool,
    },
}

/// Fetches the files of a data set into `dir`, which then opens it. What is there already, whole and with the right
/// checksum, is not fetched again; a download that was cut off is continued, an unpacking that was is begun again. The
/// files of an archive appear when all of them are unpacked.
///
/// # Errors
/// [`DataError::MissingData`] for a file that can only be had by hand and is not there, [`DataError::Download`],
/// [`DataError::Checksum`] (the file is removed), [`DataError::Archive`], [`DataError::UnsafeArchive`],
/// [`DataError::Io`].
///
/// # Cost
/// The archive stays beside what is unpacked from it.
pub fn fetch(
    info: &DatasetInfo,
    dir: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<()> {
    if info.downloads.is_empty() {
        return Err(by_hand(info.name, "an address to fetch it from", dir, info.fetch_hint));
    }
    std::fs::create_dir_all(dir).map_err(DataError::io(dir, "create"))?;
    for download in info.downloads {
        let missing = || by_hand(info.name, download.file, dir, info.fetch_hint);
        fetch_file(download, dir, options, missing, progress)?;
    }
    Ok(())
}

fn by_hand(dataset: &'static str, what: &str, dir: &Path, hint: &'static str) -> DataError {
    let looked_in = vec![dir.to_path_buf()];
    DataError::MissingData { dataset, what: what.to_string(), looked_in, found: String::new(), hint }
}

/// Fetches, checks and unpacks one file; `missing` is the error when it has no address and is not there.
pub(crate) fn fetch_file(
    download: &Download,
    dir: &Path,
    options: &FetchOptions,
    missing: impl FnOnce() -> DataError,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<()> {
    let Download { file, md5, .. } = *download;
    let path = dir.join(file);
    // Says that the archive of this checksum was unpacked to the end.
    let mark = dir.join(format!(".{file}.unpacked"));
    if std::fs::read_to_string(&mark).is_ok_and(|done| done.trim() == md5) {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
    let there = path.is_file() && checksum(&path, file, progress)? == md5;
    if !there {
        let mirror = options.mirror.iter().map(|base| format!("{}/{file}", base.trim_end_matches('/')));
        let urls: Vec<String> = mirror.chain(download.urls.iter().map(|url| (*url).to_string())).collect();
        if urls.is_empty() {
            return Err(match path.is_file() {
                true => wrong_checksum(&path, md5, checksum(&path, file, progress)?),
                false => missing(),
            });
        }
        let part = dir.join(format!("{file}.part"));
        http::download(&urls, &part, download, options, progress)?;
        let found = checksum(&part, file, progress)?;
        if found != md5 {
            std::fs::remove_file(&part).map_err(DataError::io(&part, "remove"))?;
            return Err(wrong_checksum(&path, md5, found));
        }
        std::fs::rename(&part, &path).map_err(DataError::io(&part, "rename"))?;
    }
    unpack::unpack(&path, download, dir, progress)?;
    if download.unpack != crate::registry::Unpack::Keep {
        std::fs::write(&mark, md5).map_err(DataError::io(&mark, "write"))?;
    }
    progress(FetchEvent::Ready { file, already: there && download.unpack == crate::registry::Unpack::Keep });
    Ok(())
}

/// Unpacks the archive at `path` as `kind` says, `limit` bytes at most, below `dir`.
#[cfg(feature = "testing")]
pub fn unpack_archive(path: &Path, kind: crate::registry::Unpack, limit: u64, dir: &Path) -> Result<()> {
    let download = Download { urls: &[], file: "archive", md5: "", unpack: kind, limit };
    unpack::unpack(path, &download, dir, &mut |_| {})
}

fn wrong_checksum(path: &Path, expected: &'static str, found: String) -> DataError {
    DataError::Checksum { path: path.to_path_buf(), expected, found }
}

/// MD5 of a file, hexadecimal.
fn checksum(path: &Path, file: &str, progress: &mut dyn FnMut(FetchEvent<'_>)) -> Result<String> {
    let mut reader = std::fs::File::open(path).map_err(DataError::io(path, "open"))?;
    let total = reader.metadata().map_err(DataError::io(path, "read the length of"))?.len();
    let (mut hash, mut buffer, mut done) = (Md5::new(), vec![0; 1 << 18], 0);
    loop {
        match reader.read(&mut buffer).map_err(DataError::io(path, "read"))? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                done += count as u64;
                progress(FetchEvent::Checking { file, done, total });
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
