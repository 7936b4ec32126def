//! Staging of unpacked files, which appear only when all of them are there. An archive is unpacked into a hidden
//! folder, whose contents then move to their place. The remains of an interrupted unpacking are never taken for a data
//! set, and the next attempt removes them.

use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};

/// The name of the hidden folder in which the archive `file` is unpacked.
fn folder_name(file: &str) -> String {
    format!(".{file}.unpacking")
}

/// A hidden folder on the file system to which its contents will move. Dropping it removes the folder and its contents.
pub(super) struct Staging {
    folder: PathBuf,
    /// The folder to which the contents will move.
    root: PathBuf,
}

impl Staging {
    /// Makes an empty folder for the archive `file`, whose files belong into the folder `into` of `dir`.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be made.
    pub(super) fn begin(dir: &Path, into: &str, file: &str) -> Result<Self> {
        let (root, name) = (dir.join(into), folder_name(file));
        // `root` may be a link to another disk; moving between disks is not atomic.
        let folder = if root.is_dir() { root.join(&name) } else { dir.join(&name) };
        for left in [dir.join(&name), root.join(&name)] {
            if looked_at(&left)?.is_some() {
                std::fs::remove_dir_all(&left).map_err(DataError::io(&left, "remove"))?;
            }
        }
        std::fs::create_dir_all(&folder).map_err(DataError::io(&folder, "create"))?;
        Ok(Self { folder, root })
    }

    /// The folder into which the archive must be unpacked.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the entries at the top, sorted.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be listed.
    pub(super) fn top(&self) -> Result<Vec<OsString>> {
        let listed = std::fs::read_dir(&self.folder).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<Vec<_>>>()
        });
        let mut names = listed.map_err(DataError::io(&self.folder, "list"))?;
        names.sort();
        Ok(names)
    }

    /// Moves the contents to their place. If nothing is there yet, the folder itself moves. Otherwise existing folders
    /// are merged and existing files replaced; entries that must not be replaced are found before anything moves.
    ///
    /// # Errors
    /// The error that `refuse` makes of an entry's name and a reason, where a link or an entry of another kind is in
    /// its place; [`DataError::Io`].
    pub(super) fn finish(self, refuse: &dyn Fn(&str, String) -> DataError) -> Result<()> {
        if looked_at(&self.root)?.is_none() {
            if let Some(parent) = self.root.parent() {
                std::fs::create_dir_all(parent).map_err(DataError::io(parent, "create"))?;
            }
            return std::fs::rename(&self.folder, &self.root).map_err(DataError::io(&self.root, "make"));
        }
        let mut moves = Vec::new();
        self.plan(Path::new(""), &mut moves, refuse)?;
        for path in moves {
            let to = self.root.join(&path);
            std::fs::rename(self.folder.join(&path), &to).map_err(DataError::io(&to, "make"))?;
        }
        Ok(())
    }

    /// Adds to `moves` the entries of the folder `below` that must move, as paths relative to both folders.
    fn plan(
        &self,
        below: &Path,
        moves: &mut Vec<PathBuf>,
        refuse: &dyn Fn(&str, String) -> DataError,
    ) -> Result<()> {
        let folder = self.folder.join(below);
        for entry in std::fs::read_dir(&folder).map_err(DataError::io(&folder, "list"))? {
            let entry = entry.map_err(DataError::io(&folder, "list"))?;
            let is_folder = entry.file_type().map_err(DataError::io(&entry.path(), "look at"))?.is_dir();
            let path = below.join(entry.file_name());
            let to = self.root.join(&path);
            let kind = if is_folder { "folder" } else { "plain file" };
            match looked_at(&to)? {
                None => moves.push(path),
                Some(there) if is_folder && there.is_dir() => self.plan(&path, moves, refuse)?,
                Some(there) if !is_folder && there.is_file() => moves.push(path),
                Some(_) => {
                    let reason = format!("{} is there and no {kind}", to.display());
                    return Err(refuse(&path.to_string_lossy(), reason));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // A folder that cannot be removed now is removed by the next attempt.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The kind of what is at a path, without following links; `None` if nothing is there.
fn looked_at(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataError::io(path, "look at")(error)),
    }
}
