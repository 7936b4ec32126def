//! Unpacked files appear when all of them are there: an archive is unpacked into a hidden folder, whose contents then
//! move to their place. What an interrupted unpacking left is never taken for a data set, and the next attempt removes
//! it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};

/// The hidden folder in which the archive `file` is unpacked.
fn folder_name(file: &str) -> String {
    format!(".{file}.unpacking")
}

/// A hidden folder on the file system of the place that its contents are for. Removed with what is in it when dropped.
pub(super) struct Staging {
    folder: PathBuf,
    /// Where the contents belong.
    root: PathBuf,
}

impl Staging {
    /// An empty folder for the archive `file`, which belongs into the folder `into` of `dir`.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub(super) fn begin(dir: &Path, into: &str, file: &str) -> Result<Self> {
        let (root, name) = (dir.join(into), folder_name(file));
        // `root` may be a link to another disk, between which nothing can be moved in one go.
        let folder = if root.is_dir() { root.join(&name) } else { dir.join(&name) };
        for left in [dir.join(&name), root.join(&name)] {
            if looked_at(&left)?.is_some() {
                std::fs::remove_dir_all(&left).map_err(DataError::io(&left, "remove"))?;
            }
        }
        std::fs::create_dir_all(&folder).map_err(DataError::io(&folder, "create"))?;
        Ok(Self { folder, root })
    }

    /// The folder to unpack into.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Moves the contents to their place: the folder itself where nothing is there yet, else each entry that is new,
    /// and the files of the folders that are there. Nothing is moved when an entry cannot be.
    ///
    /// # Errors
    /// What `refuse` makes of an entry's name and a reason, where a link or something of another kind is in its place;
    /// [`DataError::Io`].
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

    /// What is moved of the folder at `below`, relative to the two folders.
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
        // What cannot be removed now is removed by the next attempt.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What is at a path, links not followed; `None`: nothing.
fn looked_at(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataError::io(path, "look at")(error)),
    }
}
