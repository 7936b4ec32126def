//! The files of checkpoints in a run folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{CheckpointFile, Progress};
use crate::{
    atomic::sync_parent,
    error::{Result, io},
};

/// The path of the last checkpoint in a run folder.
pub(crate) fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("last.safetensors")
}

/// The path of the best checkpoint in a run folder, which is that of the last checkpoint's progress.
pub(crate) fn best(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("best.safetensors")
}

/// The path of a best checkpoint that is newer than the last checkpoint. [`promote_best`] makes it the best checkpoint
/// when the last one has caught up.
pub(crate) fn pending_best(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("best.pending.safetensors")
}

/// Makes the pending best checkpoint the best one, if there is a pending one.
///
/// # Errors
/// A file that cannot be renamed.
pub(crate) fn promote_best(folder: &Path) -> Result<()> {
    let pending = pending_best(folder);
    match fs::rename(&pending, best(folder)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(&pending, "rename")(error)),
        Ok(()) => sync_parent(&pending),
    }
}

/// Brings the files beside the last checkpoint to its `progress`, where a process died after it: the run may go on in
/// another way, and what it wrote since then would pass for its own. Kept weights of later epochs go, and so does a
/// best checkpoint of a later epoch, which older programs wrote at once, or a pending one that the last one does not
/// know.
///
/// # Errors
/// A folder that cannot be listed, a file that cannot be removed or renamed.
pub(crate) fn drop_abandoned(folder: &Path, progress: &Progress) -> Result<()> {
    let remove = |path: &Path| fs::remove_file(path).map_err(io(path, "remove"));
    for (epoch, path) in kept_checkpoints(folder)? {
        if epoch > progress.epoch {
            remove(&path)?;
        }
    }
    let epoch =
        |path: &Path| CheckpointFile::read(path).ok().and_then(|file| Some(file.header()?.progress.epoch));
    if epoch(&best(folder)).is_some_and(|epoch| epoch > progress.epoch) {
        remove(&best(folder))?;
    }
    let pending = pending_best(folder);
    if !pending.exists() {
        return Ok(());
    }
    let file = CheckpointFile::read(&pending).ok();
    let of_run =
        file.as_ref().and_then(CheckpointFile::header).is_some_and(|h| h.progress.best == progress.best);
    if of_run { promote_best(folder) } else { remove(&pending) }
}

/// The path of the averaged weights of a finished run.
pub(crate) fn average(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("average.safetensors")
}

/// The path of the weights kept after an epoch; epoch 0 has the initial weights.
pub(crate) fn kept(folder: &Path, epoch: u64) -> PathBuf {
    folder.join("checkpoints").join(format!("epoch-{epoch:04}.safetensors"))
}

/// The weights that a run kept by `train.keep_every_epochs`, with their epochs.
///
/// # Errors
/// A folder that cannot be listed.
pub fn kept_checkpoints(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = folder.join("checkpoints");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io(&folder, "list"))? {
        let path = entry.map_err(io(&folder, "list"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let epoch = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".safetensors"));
        if let Some(epoch) = epoch.and_then(|digits| digits.parse().ok()) {
            found.push((epoch, path));
        }
    }
    found.sort();
    Ok(found)
}
