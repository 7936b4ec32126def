//! Image folders, `{train,test|val}/CLASS/*.{jpg,jpeg,png}`: torchvision's `ImageFolder` layout.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::Part;
use super::decode::{Decoded, Resize, decode};
use crate::dataset::{Dataset, Image, InMemory, describe};
use crate::error::{DataError, Result};

const LOOKED_FOR: &str = "*.jpg, *.jpeg or *.png";

/// Above this, [`Keep::Auto`] leaves the images on disk: 2 GiB of decoded pixels (CIFAR-10 is 0.15, ImageNet 180).
const AUTO_LIMIT: usize = 2 << 30;

/// Whether an image folder is decoded once or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// In memory when the decoded images are at most 2 GiB, else on disk.
    #[default]
    Auto,
    /// Decoded on opening, on all cores, and kept in memory. Damaged files are found at once.
    InMemory,
    /// Decoded each time an image is asked for.
    OnDisk,
}

/// An image folder whose files are decoded when asked for.
struct OnDisk {
    name: String,
    shape: [usize; 3],
    classes: Vec<String>,
    files: Vec<(PathBuf, usize)>,
    resize: Option<Resize>,
}

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
    if let Some(resize) = resize {
        resize.check()?;
    }
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
    let Some((first, _)) = files.first() else {
        return Err(DataError::NoImages {
            path: root,
            reason: "no class folders (CLASS/*.jpg) in it".into(),
        });
    };
    let shape = decode(first, resize)?.shape();
    let set = OnDisk {
        name: format!("folder {part} ({})", root.display()),
        shape,
        classes: classes.into_keys().collect(),
        files,
        resize,
    };
    let bytes = shape.iter().try_fold(set.files.len(), |product, &dim| product.checked_mul(dim));
    Ok(match keep {
        Keep::OnDisk => Arc::new(set),
        Keep::InMemory => Arc::new(set.into_memory()?),
        Keep::Auto if bytes.is_some_and(|bytes| bytes <= AUTO_LIMIT) => Arc::new(set.into_memory()?),
        Keep::Auto => Arc::new(set),
    })
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

pub(crate) const HINT: &str = "arrange the files as DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val; .jpeg and .png too) \
                               and give DIR; ImageNet, Oxford-IIIT Pets, Stanford Cars and Food-101 fit after sorting into classes";

/// Names and paths of the class folders, sorted by name.
fn class_dirs(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
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

fn image_files(class: &Path) -> Result<Vec<PathBuf>> {
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

impl OnDisk {
    fn decode(&self, path: &Path) -> Result<Decoded> {
        let decoded = decode(path, self.resize)?;
        match decoded.shape() {
            found if found != self.shape => {
                Err(DataError::SizeMismatch { path: path.to_path_buf(), expected: self.shape, found })
            }
            _ => Ok(decoded),
        }
    }

    fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }

    fn into_memory(self) -> Result<InMemory> {
        let length = self.image_bytes().saturating_mul(self.files.len());
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(length).map_err(|_| {
            DataError::config(
                "keep",
                "in memory",
                format!("{length} bytes of pixels do not fit; keep them on disk"),
            )
        })?;
        pixels.resize(length, 0);
        // The first failure in file order, so that the message does not depend on timing.
        let failure = pixels
            .par_chunks_exact_mut(self.image_bytes())
            .zip(&self.files)
            .map(|(out, (path, _))| self.decode(path).map(|decoded| decoded.planar(out)))
            .find_first(Result::is_err);
        if let Some(Err(error)) = failure {
            return Err(error);
        }
        let labels = self.files.iter().map(|&(_, label)| label).collect();
        InMemory::new(self.name, self.shape, self.classes, pixels, labels)
    }

    fn file(&self, index: usize) -> Result<&(PathBuf, usize)> {
        self.files.get(index).ok_or(DataError::IndexOutOfRange { index, len: self.files.len() })
    }
}

impl Dataset for OnDisk {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        let decoded = self.decode(&self.file(index)?.0)?;
        let mut pixels = vec![0; self.image_bytes()];
        decoded.planar(&mut pixels);
        let [channels, height, width] = self.shape;
        Ok(Image { channels, height, width, pixels: Cow::Owned(pixels) })
    }

    fn label(&self, index: usize) -> Result<usize> {
        Ok(self.file(index)?.1)
    }

    fn describe(&self) -> String {
        describe(&format!("{}, decoded on demand", self.name), self)
    }
}
