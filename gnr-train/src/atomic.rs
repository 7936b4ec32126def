//! Files that hold either their old or their new contents, whatever happens during a write.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use gnr_models::Destination;

use crate::error::{Result, io};

/// Replaces the file at `path` by `bytes`: writes a file beside it, synchronises, renames, and synchronises the folder.
///
/// After a crash at any moment the file holds its old or its new contents. On an error the old file is untouched and
/// nothing is left beside it. A process that was killed may leave `NAME.partial`, which the next write replaces.
///
/// Links are followed: the file that they point to is replaced. A device or pipe is written to.
///
/// # Errors
/// [`TrainError::Io`](crate::TrainError::Io) naming the file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let Destination::File(file) = Destination::of(path) else {
        return fs::write(path, bytes).map_err(io(path, "write"));
    };
    let partial = partial_of(&file);
    let written = write_and_sync(&partial, bytes)
        .map_err(io(path, "write"))
        .and_then(|()| fs::rename(&partial, &file).map_err(io(path, "replace")));
    if written.is_err() {
        // If the leftover cannot be removed, nothing more can be done.
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync_parent(&file)
}

/// The path at which [`write_atomically`] prepares a file.
pub(crate) fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename in the folder of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(io(parent, "synchronise"))?;
    }
    Ok(())
}
