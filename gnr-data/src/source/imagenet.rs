//! ImageNet (ILSVRC 2012) as it is published and as everybody arranges it.
//!
//! Layout: `train/WNID/*.JPEG`, and for the 50,000 validation images `val/WNID/*.JPEG`. A label is the position of the WordNet
//! id in the sorted list of the thousand, as in published weights; so a folder with some of the classes (Imagenette, say) keeps
//! the labels that a network of 1,000 classes gives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Part;
use super::files::{Keep, Listing};
use super::folder::{class_dirs, image_files};
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::resize::Resize;

/// The WordNet ids of the thousand classes, sorted: number `k` is class `k` of published weights.
pub fn imagenet_wnids() -> impl ExactSizeIterator<Item = &'static str> {
    const LENGTH: usize = "n01440764\n".len();
    let list = include_str!("../../assets/imagenet_wnids.txt");
    (0..list.len() / LENGTH).map(move |k| &list[k * LENGTH..(k + 1) * LENGTH - 1])
}

pub(crate) const HINT: &str = "the images need an account at https://image-net.org/download; arrange them as DIR/train/WNID/*.JPEG and \
                               DIR/val/WNID/*.JPEG and give DIR";

/// Where the parts are found below the given folder: as unpacked, or as Kaggle's archive unpacks.
const BELOW: [&str; 2] = ["", "ILSVRC/Data/CLS-LOC"];

/// Opens a part of ImageNet in `dir`.
pub(crate) fn open(
    dir: Option<&Path>,
    part: Part,
    resize: Option<Resize>,
    keep: Keep,
) -> Result<Arc<dyn Dataset>> {
    let name = match part {
        Part::Train => "train",
        Part::Test => "val",
    };
    let looked_in: Vec<PathBuf> = dir.iter().flat_map(|dir| BELOW.map(|below| dir.join(below))).collect();
    let root = looked_in.iter().map(|base| base.join(name)).find(|path| path.is_dir()).ok_or_else(|| {
        DataError::MissingData {
            dataset: "imagenet",
            what: format!("sub-folder {name}"),
            looked_in: looked_in.clone(),
            hint: HINT,
        }
    })?;
    let classes: Vec<String> = imagenet_wnids().map(String::from).collect();
    let mut files = Vec::new();
    for (wnid, path) in class_dirs(&root)? {
        let label = label_of(&classes, &wnid).ok_or_else(|| DataError::UnknownClass {
            path: path.clone(),
            class: wnid,
            expected: "one of ImageNet's 1,000 WordNet ids (for other classes, open it as `folder`)",
        })?;
        files.extend(image_files(&path)?.into_iter().map(|file| (file, label)));
    }
    if files.is_empty() {
        let reason = "no images in class folders (WNID/*.JPEG)".into();
        return Err(DataError::NoImages { path: root, reason });
    }
    Listing { name: format!("imagenet {part} ({})", root.display()), classes, files }.open(resize, keep)
}

fn label_of(classes: &[String], wnid: &str) -> Option<usize> {
    classes.binary_search_by(|class| class.as_str().cmp(wnid)).ok()
}
