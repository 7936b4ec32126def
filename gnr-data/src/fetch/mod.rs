//! Fetching of published data sets: download with resume, checksum, safe unpacking. Feature `fetch`.

mod http;
mod staging;
mod unpack;

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use md5::{Digest, Md5};

use crate::error::{DataError, Result};
use crate::registry::{DatasetInfo, Download, Unpack};

/// Options of [`fetch()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// Address of a folder with the files, which is tried before the published addresses. Default: none.
    pub mirror: Option<String>,
    /// Number of attempts in a row without a new byte after which an address is given up. Default 5.
    pub attempts: u32,
    /// Pause after the first failed attempt, doubled with each further one. Default 1 s.
    pub pause: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { mirror: None, attempts: 5, pause: Duration::from_secs(1) }
    }
}

/// Progress of [`fetch()`], for those who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent<'a> {
    /// Bytes of a file have arrived.
    Downloading {
        /// Name of the file.
        file: &'a str,
        /// Number of bytes so far, including those of earlier attempts.
        done: u64,
        /// Number of bytes of the whole file, where the server says it.
        total: Option<u64>,
    },
    /// An attempt failed, and another one follows.
    Retrying {
        /// Name of the file.
        file: &'a str,
        /// The reason for the failure.
        reason: &'a str,
    },
    /// The checksum of a file is being computed.
    Checking {
        /// Name of the file.
        file: &'a str,
        /// Number of bytes read so far.
        done: u64,
        /// Number of bytes of the whole file.
        total: u64,
    },
    /// An archive is being unpacked.
    Unpacking {
        /// Name of the archive.
        file: &'a str,
        /// Number of files written so far.
        files: u64,
        /// Number of bytes written so far.
        done: u64,
    },
    /// A file is there, checked and unpacked.
    Ready {
        /// Name of the file.
        file: &'a str,
        /// Whether the file was there before the call.
        already: bool,
    },
}

/// Fetches the files of a data set into `dir`, from which the data set then opens.
///
/// Files that are there, complete and with the right checksum, are not fetched again. An interrupted download is
/// continued, an interrupted unpacking begins again. The files of an archive appear when all of them are unpacked.
///
/// # Errors
/// [`DataError::MissingData`] for a missing file that can only be obtained by hand, [`DataError::Download`],
/// [`DataError::Checksum`] (the file is then removed), [`DataError::Archive`], [`DataError::UnsafeArchive`],
/// [`DataError::Fetching`] while another process fetches one of the files into `dir`, [`DataError::Io`].
///
/// # Cost
/// Disk space: the archive stays beside the files that are unpacked from it.
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

/// Fetches, checks and unpacks one file. `missing` is the error if the file is not there and has no address.
pub(crate) fn fetch_file(
    download: &Download,
    dir: &Path,
    options: &FetchOptions,
    missing: impl FnOnce() -> DataError,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<()> {
    let Download { file, md5, .. } = *download;
    let path = dir.join(file);
    let keep = download.unpack == Unpack::Keep;
    if !keep && unpack::is_unpacked(dir, file, md5) {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
    let there = path.is_file() && checksum(&path, file, progress)? == md5;
    if there && keep {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
    // Without the archive, there is nothing to compare an older program's mark with.
    if !keep && !path.exists() && unpack::has_old_mark(dir, file, md5) {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
    // Everything was read only until here, as in a data folder in which nobody may write.
    let _lock = lock(dir, file)?;
    // Another process may have finished since this one looked.
    if !keep && unpack::is_unpacked(dir, file, md5) {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
    let there = there || (path.is_file() && checksum(&path, file, progress)? == md5);
    if there && keep {
        progress(FetchEvent::Ready { file, already: true });
        return Ok(());
    }
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
    let made = unpack::unpack(&path, download, dir, progress)?;
    if !keep {
        unpack::mark_unpacked(dir, file, md5, &made)?;
    }
    progress(FetchEvent::Ready { file, already: false });
    Ok(())
}

/// Takes the lock of a file's download and unpacking in `dir`, until the value is dropped. The lock file stays.
fn lock(dir: &Path, file: &str) -> Result<File> {
    let path = dir.join(format!(".{file}.lock"));
    let lock =
        File::options().create(true).append(true).open(&path).map_err(DataError::io(&path, "create"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(DataError::Fetching { folder: dir.to_path_buf(), file: file.to_string() })
        }
        Err(TryLockError::Error(source)) => Err(DataError::io(&path, "lock")(source)),
    }
}

/// Unpacks the archive at `path` by the rules of `kind` into `dir`, at most `limit` bytes.
#[cfg(feature = "testing")]
pub fn unpack_archive(path: &Path, kind: Unpack, limit: u64, dir: &Path) -> Result<()> {
    let download = Download { urls: &[], file: "archive", md5: "", unpack: kind, limit };
    unpack::unpack(path, &download, dir, &mut |_| {}).map(drop)
}

fn wrong_checksum(path: &Path, expected: &'static str, found: String) -> DataError {
    DataError::Checksum { path: path.to_path_buf(), expected, found }
}

/// The MD5 checksum of a file, in hexadecimal.
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
