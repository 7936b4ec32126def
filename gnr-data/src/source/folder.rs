//! Image folders, `{train,test|val}/CLASS/…/*.jpg`: torchvision's `ImageFolder` layout.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use super::Part;
use super::files::{Keep, Listing};
use super::places::missing;
use super::walk::{LOOKED_FOR, LeftOut, class_folders, images_below, sub_folders};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::DatasetInfo;
use crate::resize::Resize;

/// Opens a part of the image folder `dir`: `train`, or `test` (else `val`, `valid`, `validation`).
///
/// Classes are the names of the sub-folders, sorted by their bytes. Names that differ only in case or Unicode form are
/// two classes; bytes that are not UTF-8 are shown as `\xE9`.
///
/// The images of a class are the files below its folder, at any depth, whose names end as those of JPEG, PNG, WebP,
/// BMP, GIF, TIFF and PNM files do, in upper or lower case; links are followed. Their contents decide the format. All
/// images are RGB and have the size of the first one, unless `resize` changes their size.
///
/// [`Dataset::warnings`] counts and names what is left out (other files, hidden ones, folders that programs leave
/// behind). It also names class folders without images, names that are easily confused, and a `val` beside `test`.
///
/// # Errors
/// [`DataError::NoImages`]; [`DataError::EmptyClass`] for a class of the training part without an image among its
/// files; [`DataError::ClassMismatch`] when `test` and `train` have different classes; [`DataError::SizeMismatch`],
/// [`DataError::Truncated`], [`DataError::Decode`], [`DataError::Unsupported`], [`DataError::Io`]. Each names the file
/// or folder.
pub fn open_folder(dir: &Path, part: Part, resize: Option<Resize>, keep: Keep) -> Result<Arc<dyn Dataset>> {
    let (root, unread) = part_dir(dir, part)?;
    let mut left = LeftOut::default();
    let classes = class_dirs(&root, &mut left)?;
    if !classes.is_empty() {
        check_same_classes(dir, &root, &classes)?;
    }
    let (mut files, mut empty) = (Vec::new(), Vec::new());
    for (label, (name, path)) in classes.iter().enumerate() {
        let mut left_here = LeftOut::default();
        let found = images_below(path, &mut left_here)?;
        if found.is_empty() {
            // A test set of a few images may have none of a class.
            if part == Part::Train && left_here.warning().is_some() {
                let found = left_here.summary();
                return Err(DataError::EmptyClass { path: path.clone(), looked_for: LOOKED_FOR, found });
            }
            empty.push(format!("`{}`", shown(name)));
        }
        left.extend(left_here);
        files.extend(found.into_iter().map(|file| (file, label)));
    }
    if files.is_empty() {
        let reason = match left.warning() {
            Some(left) => format!("no class folders with images (CLASS/*.jpg) in it; {left}"),
            None => "no class folders with images (CLASS/*.jpg) in it".into(),
        };
        return Err(DataError::NoImages { path: root, reason });
    }
    let mut warnings: Vec<String> = left.warning().into_iter().collect();
    if !unread.is_empty() {
        let folders: Vec<String> = unread.iter().map(|path| path.display().to_string()).collect();
        warnings.push(format!(
            "the images of the {part} part are those in {}; not read: {}",
            root.display(),
            folders.join(", ")
        ));
    }
    if !empty.is_empty() {
        let first = empty.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if empty.len() > 3 { ", …" } else { "" };
        warnings.push(format!(
            "{} of {} class folders in {} have no images: {first}{more}",
            empty.len(),
            classes.len(),
            root.display()
        ));
    }
    warnings.extend(name_warnings(&root, classes.keys().map(OsString::as_os_str)));
    let name = format!("folder {part} ({})", root.display());
    let classes = classes.keys().map(|name| shown(name)).collect();
    Listing { name, classes, files, warnings }.open(resize, keep)
}

/// The folder of a part, and further folders that could be this part and are not read.
fn part_dir(dir: &Path, part: Part) -> Result<(PathBuf, Vec<PathBuf>)> {
    let names: &[&str] = match part {
        Part::Train => &["train"],
        Part::Test => &["test", "val", "valid", "validation"],
    };
    let there =
        |dir: &Path| names.iter().map(|name| dir.join(name)).filter(|path| path.is_dir()).collect::<Vec<_>>();
    let found = there(dir);
    // An empty folder may stand beside the one with the images.
    let filled = |path: &&PathBuf| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if let Some(path) = found.iter().find(filled).or(found.first()) {
        let others = found.iter().filter(|other| *other != path).filter(filled).cloned();
        return Ok((path.clone(), others.collect()));
    }
    let folders = sub_folders(dir);
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let alike = folders.iter().find(|path| names.contains(&name(path).to_lowercase().as_str()));
    let advice = match (alike, folders.iter().find(|path| !there(path).is_empty())) {
        (Some(alike), _) => format!(" (`{}` is spelt otherwise: rename it)", name(alike)),
        (None, Some(deeper)) => format!(" (it is in {}: give that folder)", deeper.display()),
        (None, None) => String::new(),
    };
    let what = format!("sub-folder {}{advice}", names.join(" or "));
    Err(missing("folder", &what, &[dir.to_path_buf()], HINT, Some(dir)))
}

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "folder",
    summary: "your own image folder: {train,test|val}/CLASS/…/*.{jpg,png,webp,bmp,gif,tif,ppm,…}, RGB",
    shape: None,
    classes: None,
    counts: None,
    fetch_hint: HINT,
    layouts: "{train,test|val|valid|validation}/CLASS/, images at any depth below (.jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm in \
              either case; contents decide), pixels as Pillow's convert(\"RGB\"): first frame, no transparency, no EXIF rotation but TIFF's; other files are \
              counted and told, or refused with data.strict = true",
    licence: "yours to know",
    augmentation: Augmentation::NONE,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[],
    opener: |options, part| {
        let dir = options.dir.as_deref();
        let dir = dir.ok_or_else(|| missing("folder", "the folder", &[], HINT, None))?;
        open_folder(dir, part, options.resize, options.keep)
    },
};

const HINT: &str = "arrange the files as DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val, valid, validation; .png, .webp, .bmp, \
                    .gif, .tif and .ppm too, in folders below CLASS as well) and give DIR";

/// Names and paths of the class folders, sorted by the bytes of their names. Everything else is added to `left`.
pub(super) fn class_dirs(root: &Path, left: &mut LeftOut) -> Result<BTreeMap<OsString, PathBuf>> {
    let folders = class_folders(root, left)?;
    Ok(folders.into_iter().map(|path| (path.file_name().unwrap_or_default().to_owned(), path)).collect())
}

/// A name as text. Bytes that are not UTF-8 become `\xE9`, so that different names stay different.
pub(super) fn shown(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

/// A form of a name that is equal for names that are easily confused.
fn folded(name: &str) -> String {
    name.trim().nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// Warnings about names that differ only in case or Unicode form, and about names that are not UTF-8.
fn name_warnings<'a>(root: &Path, names: impl Iterator<Item = &'a OsStr>) -> Vec<String> {
    let (mut warnings, mut seen) = (Vec::new(), HashMap::new());
    let mut broken = Vec::new();
    for name in names {
        let text = shown(name);
        if name.to_str().is_none() {
            broken.push(format!("`{text}`"));
        }
        if let Some(other) = seen.insert(folded(&text), text.clone()) {
            warnings.push(format!(
                "class folders {other:?} and {text:?} in {} differ only in case, Unicode form or space; they are two classes",
                root.display()
            ));
        }
    }
    if !broken.is_empty() {
        let first = broken.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if broken.len() > 3 { ", …" } else { "" };
        warnings.push(format!("{} class names are not UTF-8: {first}{more}", broken.len()));
    }
    warnings
}

/// Fails unless both parts have equal classes, because labels are positions in the list of classes.
fn check_same_classes(dir: &Path, root: &Path, classes: &BTreeMap<OsString, PathBuf>) -> Result<()> {
    let train = dir.join("train");
    if root == train || !train.is_dir() {
        return Ok(());
    }
    let reference = class_dirs(&train, &mut LeftOut::default())?;
    let missing =
        |class: &OsString, there: &BTreeMap<OsString, PathBuf>, missing_in: &Path, present_in: &Path| {
            let name = shown(class);
            let similar = there.keys().map(|other| shown(other)).find(|other| folded(other) == folded(&name));
            let (missing_in, present_in) = (missing_in.to_path_buf(), present_in.to_path_buf());
            DataError::ClassMismatch { class: name, similar, missing_in, present_in }
        };
    if let Some(class) = reference.keys().find(|class| !classes.contains_key(*class)) {
        return Err(missing(class, classes, root, &train));
    }
    match classes.keys().find(|class| !reference.contains_key(*class)) {
        Some(class) => Err(missing(class, &reference, &train, root)),
        None => Ok(()),
    }
}
