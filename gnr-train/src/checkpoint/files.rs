//! The files of checkpoints in a run folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Result, io};

/// The path of the last checkpoint in a run folder.
pub(crate) fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("last.safetensors")
}

/// The path of the best checkpoint in a run folder.
pub(crate) fn best(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("best.safetensors")
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
