//! Search for the files of a published set: in the given folder, in the folders that archives and mirrors put around
//! them, or one folder deeper. The error for files that were not found is made here, too.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::walk::{has_images, sub_folders};
use crate::error::{DataError, Result};

/// The folders to search for the files of one set.
pub(super) struct Places<'a> {
    dataset: &'static str,
    hint: &'static str,
    /// The folder that the user gave.
    dir: Option<&'a Path>,
    /// Folders below the given one where the files are usually kept, in order of preference.
    usual: Vec<PathBuf>,
    /// The usual folders within each folder of `dir`.
    deeper: Vec<PathBuf>,
    /// The folder of the first file that was found. Other files are searched there first, so that two sets do not mix.
    chosen: OnceCell<PathBuf>,
}

impl<'a> Places<'a> {
    /// The folders `below` the given one, and those within each of its folders that `is_ours` accepts by name.
    pub(super) fn new(
        dataset: &'static str,
        hint: &'static str,
        dir: Option<&'a Path>,
        below: &[&str],
        is_ours: impl Fn(&str) -> bool,
    ) -> Self {
        let join = |base: &Path| below.iter().map(|below| base.join(below)).collect::<Vec<_>>();
        let usual = dir.map(join).unwrap_or_default();
        let accepted = |path: &PathBuf| is_ours(&path.file_name().unwrap_or_default().to_string_lossy());
        let deeper = dir.map(sub_folders).unwrap_or_default().into_iter().filter(accepted);
        let deeper = deeper.flat_map(|path| join(&path)).collect();
        Self { dataset, hint, dir, usual, deeper, chosen: OnceCell::new() }
    }

    /// Folders of installed packages, which are used when none is given.
    pub(super) fn installed(dataset: &'static str, hint: &'static str, folders: &[&str]) -> Self {
        let usual = folders.iter().map(PathBuf::from).collect();
        Self { dataset, hint, dir: None, usual, deeper: Vec::new(), chosen: OnceCell::new() }
    }

    /// The path of the file that has one of these `names` (paths may be given, too), the most usual name first. A
    /// folder with the file's name may hold the file, as some programs unpack.
    ///
    /// # Errors
    /// [`DataError::MissingData`], also when several folders hold such a file.
    pub(super) fn file(&self, names: &[String]) -> Result<PathBuf> {
        self.find(&names[0], |base| names.iter().find_map(|name| file_at(&base.join(name), names)))
    }

    /// The path of the file that has one of these names, if there is one.
    pub(super) fn optional_file(&self, names: &[String]) -> Option<PathBuf> {
        self.file(names).ok()
    }

    /// The path of the folder `name`. If no image but a folder of that name lies in it, the inner folder is taken (at
    /// most twice).
    ///
    /// # Errors
    /// [`DataError::MissingData`], also when there are several such folders.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let mut folder = self.find(name, |base| Some(base.join(name)).filter(|path| path.is_dir()))?;
        // Archives of archives nest no deeper than twice.
        for _ in 0..2 {
            let inner = folder.join(Path::new(name).file_name().unwrap_or_default());
            if !inner.is_dir() || has_images(&folder) {
                break;
            }
            folder = inner;
        }
        Ok(folder)
    }

    fn find(&self, what: &str, look: impl Fn(&Path) -> Option<PathBuf>) -> Result<PathBuf> {
        if let Some(found) = self.chosen.get().and_then(|base| look(base)) {
            return Ok(found);
        }
        let there = |base: &PathBuf| look(base).map(|found| (base.clone(), found));
        let mut found: Vec<(PathBuf, PathBuf)> = self.usual.iter().find_map(there).into_iter().collect();
        if found.is_empty() {
            found = self.deeper.iter().filter_map(there).collect();
            // Two of the usual folders may be the same one.
            found.dedup_by(|a, b| a.1 == b.1);
        }
        if found.len() > 1 {
            let found: Vec<String> = found.iter().map(|(_, path)| path.display().to_string()).collect();
            return Err(
                self.missing(&format!("exactly one {what} ({}: give the folder of one)", found.join(", ")))
            );
        }
        let (base, path) = found.pop().ok_or_else(|| self.missing(what))?;
        self.chosen.get_or_init(|| base);
        Ok(path)
    }

    /// The error that `what` was not found.
    pub(super) fn missing(&self, what: &str) -> DataError {
        missing(self.dataset, what, &self.usual, self.hint, self.dir)
    }
}

/// `path` if it is a file, or the file with one of `names` in the folder `path`.
fn file_at(path: &Path, names: &[String]) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    let inside = |name: &String| path.join(Path::new(name).file_name().unwrap_or_default());
    names.iter().map(inside).find(|inside| inside.is_file())
}

/// The error that `what` was not found in the folders `looked_in`, with the contents of `dir`.
pub(super) fn missing(
    dataset: &'static str,
    what: &str,
    looked_in: &[PathBuf],
    hint: &'static str,
    dir: Option<&Path>,
) -> DataError {
    let found = dir.map(contents).unwrap_or_default();
    DataError::MissingData { dataset, what: what.into(), looked_in: looked_in.to_vec(), found, hint }
}

/// The contents of a folder in a line, with advice to unpack archives or to continue an interrupted download.
fn contents(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else {
        let is = match dir.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is not there",
            Ok(about) if about.is_symlink() && !dir.exists() => "is a link that leads nowhere",
            Ok(about) if about.is_file() => "is a file, not a folder",
            _ => "is no folder that can be read",
        };
        return format!("{} {is}", dir.display());
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    let archive = |name: &&String| {
        [".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar"].iter().any(|end| name.ends_with(end))
    };
    // Files of a `gnr data fetch` that was interrupted.
    let begun = |name: &String| {
        let unpacking = name.strip_prefix('.').and_then(|name| name.strip_suffix(".unpacking"));
        unpacking.or_else(|| name.strip_suffix(".part")).map(String::from)
    };
    let packed: Vec<&str> = names.iter().filter(archive).map(String::as_str).take(3).collect();
    let advice = match names.iter().find_map(begun) {
        Some(file) => format!("; fetching {file} was interrupted: the same `gnr data fetch` goes on"),
        None if packed.is_empty() => String::new(),
        None => format!("; unpack {} first", packed.join(", ")),
    };
    let shown = names.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => format!("{} is empty", dir.display()),
        count if count > 6 => format!("{} holds {shown} and {} more{advice}", dir.display(), count - 6),
        _ => format!("{} holds {shown}{advice}", dir.display()),
    }
}
