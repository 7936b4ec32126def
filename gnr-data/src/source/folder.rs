//! Image folders, `{train,test|val}/CLASS/*.{jpg,jpeg,png}`: torchvision's `ImageFolder` layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Part;
use super::files::{Keep, Listing};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::DatasetInfo;
use crate::resize::Resize;

const LOOKED_FOR: &str = "*.jpg, *.jpeg or *.png";

/// Opens a part of the image folder `dir`: `train`, or `test` (else `val`).
///
/// Classes are the names of the sub-folders, sorted by their bytes; other files are ignored. All images are RGB and of
/// one size, that of the first, unless `resize` brings them to one.
///
/// # Errors
/// [`DataError::NoImages`], [`DataError::EmptyClass`], [`DataError::ClassMismatch`] when `test` and `train` have not
/// the same classes, [`DataError::SizeMismatch`], [`DataError::Truncated`], [`DataError::Decode`], [`DataError::Io`],
/// each naming the file or folder.
pub fn open_folder(dir: &Path, part: Part, resize: Option<Resize>, keep: Keep) -> Result<Arc<dyn Dataset>> {
    let root = part_dir(dir, part)?;
    let classes = class_dirs(&root)?;
    check_same_classes(dir, &root, &classes)?;
    let mut files = Vec::new();
    for (label, path) in classes.values().enumerate() {
        let found = image_files(path)?;
        // A test set of a few images may have none of a class; a training set without one is a mistake.
        if found.is_empty() && part == Part::Train {
            return Err(DataError::EmptyClass { path: path.clone(), looked_for: LOOKED_FOR });
        }
        files.extend(found.into_iter().map(|file| (file, label)));
    }
    if files.is_empty() {
        let reason = "no class folders (CLASS/*.jpg) in it".into();
        return Err(DataError::NoImages { path: root, reason });
    }
    let name = format!("folder {part} ({})", root.display());
    Listing { name, classes: classes.into_keys().collect(), files }.open(resize, keep)
}

fn part_dir(dir: &Path, part: Part) -> Result<PathBuf> {
    let names: &[&str] = match part {
        Part::Train => &["train"],
        Part::Test => &["test", "val"],
    };
    names.iter().map(|name| dir.join(name)).find(|path| path.is_dir()).ok_or_else(|| DataError::MissingData {
        dataset: "folder",
        what: format!("sub-folder {}", names.join(" or ")),
        looked_in: vec![dir.to_path_buf()],
        hint: HINT,
    })
}

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "folder",
    summary: "your own image folder: {train,test|val}/CLASS/*.{jpg,jpeg,png}, RGB",
    shape: None,
    classes: None,
    counts: None,
    fetch_hint: HINT,
    licence: "yours to know",
    augmentation: Augmentation::NONE,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[],
    opener: |options, part| {
        let dir = options.dir.as_deref().ok_or_else(|| DataError::MissingData {
            dataset: "folder",
            what: "the folder".into(),
            looked_in: Vec::new(),
            hint: HINT,
        })?;
        open_folder(dir, part, options.resize, options.keep)
    },
};

const HINT: &str = "arrange the files as DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val; .jpeg and .png too) \
                    and give DIR";

/// Names and paths of the class folders, sorted by name.
pub(super) fn class_dirs(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut classes = BTreeMap::new();
    for entry in std::fs::read_dir(root).map_err(DataError::io(root, "list"))? {
        let path = entry.map_err(DataError::io(root, "list"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') {
            classes.insert(name, path);
        }
    }
    Ok(classes)
}

/// Labels are positions in the list of classes, so both parts must have the same ones.
fn check_same_classes(dir: &Path, root: &Path, classes: &BTreeMap<String, PathBuf>) -> Result<()> {
    let train = dir.join("train");
    if root == train || !train.is_dir() {
        return Ok(());
    }
    let reference = class_dirs(&train)?;
    let missing = |class: &String, missing_in: &Path, present_in: &Path| DataError::ClassMismatch {
        class: class.clone(),
        missing_in: missing_in.to_path_buf(),
        present_in: present_in.to_path_buf(),
    };
    if let Some(class) = reference.keys().find(|class| !classes.contains_key(*class)) {
        return Err(missing(class, root, &train));
    }
    match classes.keys().find(|class| !reference.contains_key(*class)) {
        Some(class) => Err(missing(class, &train, root)),
        None => Ok(()),
    }
}

pub(super) fn image_files(class: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(class).map_err(DataError::io(class, "list"))? {
        let path = entry.map_err(DataError::io(class, "list"))?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let hidden = path.file_name().unwrap_or_default().to_string_lossy().starts_with('.');
        if matches!(extension.as_str(), "jpg" | "jpeg" | "png") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
