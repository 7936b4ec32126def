//! Search for the images below a folder. Whatever else is found there is counted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};

/// Endings of image files in lower case: those of torchvision's `ImageFolder`, and some more of these formats.
const ENDINGS: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff", "webp"];

/// The kinds of images that are read, in the words of an error.
pub(super) const LOOKED_FOR: &str = "image (.jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm)";

/// Folders that programs leave behind: archives of macOS, thumbnails of a NAS, recycle bins, caches.
const OF_PROGRAMS: [&str; 7] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
];

/// Whether the name of a file has the ending of an image, in upper or lower case.
pub(crate) fn is_image_name(path: &Path) -> bool {
    ENDINGS.contains(&ending(path).as_str())
}

/// The ending of a path in lower case, without its dot.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether a folder of this name belongs to a program: it is no class and is not searched.
fn is_of_programs(name: &OsStr) -> bool {
    OF_PROGRAMS.iter().any(|known| name == *known)
}

/// The files that were found and not read.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Number of files of each kind.
    kinds: BTreeMap<String, usize>,
    /// The first few files, in the order of reading.
    first: Vec<PathBuf>,
}

impl LeftOut {
    fn add(&mut self, path: PathBuf, kind: String) {
        *self.kinds.entry(kind).or_default() += 1;
        if self.first.len() < 3 {
            self.first.push(path);
        }
    }

    fn count(&self) -> usize {
        self.kinds.values().sum()
    }

    /// A warning in one line, e.g. `5 files are not read: 4 .avif, 1 .txt; the first: a.avif, …`; `None` when nothing
    /// was left out.
    pub(super) fn warning(&self) -> Option<String> {
        let count = self.count();
        let subject = if count == 1 { "1 entry is" } else { &format!("{count} entries are") };
        (count > 0).then(|| format!("{subject} not read: {}", self.summary()))
    }

    /// The kinds with their numbers, and the first few paths.
    pub(super) fn summary(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let first: Vec<String> = self.first.iter().map(|path| path.display().to_string()).collect();
        let more = if self.count() > first.len() { ", …" } else { "" };
        format!("{}; the first: {}{more}", kinds.join(", "), first.join(", "))
    }

    /// Adds the files that were left out elsewhere.
    pub(super) fn extend(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.first.extend(other.first);
        self.first.truncate(3);
    }
}

/// The folders in `dir` that may hold a data set, sorted; none where `dir` cannot be listed.
pub(super) fn sub_folders(dir: &Path) -> Vec<PathBuf> {
    class_folders(dir, &mut LeftOut::default()).unwrap_or_default()
}

/// Whether a folder directly holds an image file.
pub(super) fn has_images(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| is_image_name(&entry.path()) && !is_hidden(&entry.file_name()))
        })
    })
}

const NOWHERE: &str = "link that leads nowhere";

/// The kind of an entry in a folder.
pub(crate) enum Kind {
    Folder {
        linked: bool,
    },
    File,
    /// A link whose target does not exist.
    Nowhere,
    /// A pipe, a device or a socket: opening it could wait for ever.
    Special,
}

/// The entries of a folder with their kinds, sorted. A link is of the kind of its target.
pub(crate) fn entries(folder: &Path) -> Result<Vec<(PathBuf, Kind)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder, "list"))? {
        let entry = entry.map_err(DataError::io(folder, "list"))?;
        let (path, kind) = (entry.path(), entry.file_type());
        let kind = kind.map_err(DataError::io(&path, "look at"))?;
        let linked = kind.is_symlink();
        let kind =
            if linked { std::fs::metadata(&path).ok().map(|target| target.file_type()) } else { Some(kind) };
        let kind = match kind {
            Some(kind) if kind.is_dir() => Kind::Folder { linked },
            Some(kind) if !kind.is_file() => Kind::Special,
            // A broken link with the name of an image counts as one, and is an error when it is read.
            None if !is_image_name(&path) => Kind::Nowhere,
            _ => Kind::File,
        };
        entries.push((path, kind));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// The folders in `root` that are classes, sorted by the bytes of their names. Everything else is added to `left`.
pub(super) fn class_folders(root: &Path, left: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for (path, kind) in entries(root)? {
        let name = path.file_name().unwrap_or_default();
        match kind {
            Kind::Folder { .. } if is_hidden(name) => left.add(path, "hidden folder".into()),
            Kind::Folder { .. } if is_of_programs(name) => left.add(path, "folder of a program".into()),
            Kind::Folder { .. } => folders.push(path),
            Kind::File if is_image_name(&path) && !is_hidden(name) => {
                left.add(path, "image outside of the class folders".into());
            }
            Kind::File => leave_file(path, left),
            Kind::Nowhere => left.add(path, NOWHERE.into()),
            Kind::Special => left.add(path, "special file".into()),
        }
    }
    Ok(folders)
}

/// The images directly in `folder`, sorted. Everything else but folders is added to `left`.
pub(super) fn images_in(folder: &Path, left: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for (path, kind) in entries(folder)? {
        file(path, &kind, &mut images, left);
    }
    Ok(images)
}

/// The images in `folder` and in the folders below it, following links. The order is that of torchvision's
/// `ImageFolder`: by the text of the folder's path, then by name. Everything else is added to `left`.
pub(super) fn images_below(folder: &Path, left: &mut LeftOut) -> Result<Vec<PathBuf>> {
    // Each folder comes with the resolved targets of the links on the way to it. A link back to one of these targets is
    // not followed again.
    let mut open = vec![(folder.to_path_buf(), Vec::new())];
    let mut folders = Vec::new();
    while let Some((folder, links)) = open.pop() {
        let mut images = Vec::new();
        for (path, kind) in entries(&folder)? {
            let name = path.file_name().unwrap_or_default();
            let Kind::Folder { linked } = kind else {
                file(path, &kind, &mut images, left);
                continue;
            };
            if is_hidden(name) {
                left.add(path, "hidden folder".into());
            } else if is_of_programs(name) {
                left.add(path, "folder of a program".into());
            } else if linked {
                let real = |path: &Path| std::fs::canonicalize(path).map_err(DataError::io(path, "follow"));
                let (here, target) = (real(&folder)?, real(&path)?);
                if here.starts_with(&target) || links.contains(&target) {
                    left.add(path, "link to a folder around it".into());
                } else {
                    let links = links.iter().cloned().chain([target]).collect();
                    open.push((path, links));
                }
            } else {
                open.push((path, links.clone()));
            }
        }
        folders.push((folder, images));
    }
    folders.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
    Ok(folders.into_iter().flat_map(|(_, images)| images).collect())
}

fn file(path: PathBuf, kind: &Kind, images: &mut Vec<PathBuf>, left: &mut LeftOut) {
    let hidden = is_hidden(path.file_name().unwrap_or_default());
    match kind {
        Kind::Folder { .. } => {}
        Kind::Nowhere => left.add(path, NOWHERE.into()),
        Kind::Special => left.add(path, "special file".into()),
        Kind::File if is_image_name(&path) && !hidden => images.push(path),
        Kind::File => leave_file(path, left),
    }
}

fn leave_file(path: PathBuf, left: &mut LeftOut) {
    let kind = match ending(&path).as_str() {
        _ if is_hidden(path.file_name().unwrap_or_default()) => "hidden file".into(),
        "" => "file without an ending".into(),
        ending => format!(".{ending}"),
    };
    left.add(path, kind);
}
