//! ImageNet (ILSVRC 2012), as it is published and as it is usually arranged.
//!
//! Layout: training images are `train/WNID/*.JPEG`. The 50,000 validation images are `val/WNID/*.JPEG` or, as the
//! archive unpacks, all in `val`. Their classes are then in the devkit (`ILSVRC2012_devkit_t12/data`), in Kaggle's
//! `LOC_val_solution.csv` or in Caffe's `val.txt`.
//!
//! A label is the position of the WordNet id in the sorted list of the thousand, as in published weights. A folder with
//! some of the classes (Imagenette, say) therefore keeps the labels of a network of 1,000 classes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cars::structures;
use super::files::Listing;
use super::folder::{class_dirs, shown};
use super::mat::Value;
use super::places::missing;
use super::text::excerpt;
use super::walk::{LeftOut, images_below, images_in};
use super::{Part, locate, read_text};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, OpenOptions, Unpack};

/// The WordNet ids of the thousand classes, sorted: number `k` is class `k` of published weights.
pub fn imagenet_wnids() -> impl ExactSizeIterator<Item = &'static str> {
    const LENGTH: usize = "n01440764\n".len();
    let list = include_str!("../../assets/imagenet_wnids.txt");
    (0..list.len() / LENGTH).map(move |k| &list[k * LENGTH..(k + 1) * LENGTH - 1])
}

const HINT: &str = "the archives need an account at https://image-net.org/download: put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and \
                    ILSVRC2012_devkit_t12.tar.gz into DIR and run gnr data fetch imagenet --data-dir DIR, which checks and unpacks them; \
                    or arrange DIR/train/WNID/*.JPEG and DIR/val/WNID/*.JPEG; then give DIR";

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "imagenet",
    summary: "ImageNet (ILSVRC 2012), 1,000 classes, RGB photographs of mixed sizes",
    shape: None,
    classes: Some(1000),
    counts: Some([1_281_167, 50_000]),
    fetch_hint: HINT,
    layouts: "{train,val}/WNID/*.JPEG in the given folder or its ILSVRC/Data/CLS-LOC; val may be flat, with ILSVRC2012_devkit_t12/data, \
              LOC_val_solution.csv or val.txt (NAME and WNID or number)",
    licence: "ImageNet terms of access (non-commercial research and education)",
    augmentation: Augmentation::IMAGENET,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[
        Download {
            urls: &[],
            file: "ILSVRC2012_devkit_t12.tar.gz",
            md5: "fa75699e90414af021442c21a62c3abf",
            unpack: Unpack::Tar { into: "" },
            limit: 1 << 28,
        },
        Download {
            urls: &[],
            file: "ILSVRC2012_img_val.tar",
            md5: "29b22e2961454d5413ddabcf34fc5622",
            unpack: Unpack::Tar { into: "val" },
            limit: 8 << 30,
        },
        Download {
            urls: &[],
            file: "ILSVRC2012_img_train.tar",
            md5: "1d675b47d978889d74fa0da5fadfb00e",
            unpack: Unpack::TarOfTars { into: "train" },
            limit: 200 << 30,
        },
    ],
    opener: |options, part| open(options, part),
};

/// Folders below the given one that may hold the parts: as unpacked, and as Kaggle's archive unpacks.
const BELOW: [&str; 2] = ["", "ILSVRC/Data/CLS-LOC"];

fn open(options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let name = match part {
        Part::Train => "train",
        Part::Test => "val",
    };
    let dir = options.dir.as_deref();
    let looked_in: Vec<PathBuf> = dir.iter().flat_map(|dir| BELOW.map(|below| dir.join(below))).collect();
    let missing = |what: &str| missing(INFO.name, what, &looked_in, HINT, dir);
    let (Some(dir), Some(root)) =
        (dir, looked_in.iter().map(|base| base.join(name)).find(|path| path.is_dir()))
    else {
        return Err(missing(&format!("sub-folder {name}")));
    };
    let classes: Vec<String> = imagenet_wnids().map(String::from).collect();
    let mut files = Vec::new();
    let mut left = LeftOut::default();
    for (wnid, path) in class_dirs(&root, &mut left)? {
        let label = label_of(&classes, &path, &shown(&wnid))?;
        files.extend(images_below(&path, &mut left)?.into_iter().map(|file| (file, label)));
    }
    if files.is_empty() && part == Part::Test {
        left = LeftOut::default();
        let flat = images_in(&root, &mut left)?;
        if !flat.is_empty() {
            let truth = Truth::find(dir, &flat)?.ok_or_else(|| {
                missing(
                    "classes of the images in val (ILSVRC2012_devkit_t12/data, LOC_val_solution.csv or val.txt)",
                )
            })?;
            files = flat
                .into_iter()
                .map(|file| truth.label(&file, &classes).map(|label| (file, label)))
                .collect::<Result<_>>()?;
        }
    }
    if files.is_empty() {
        let reason = "no images in class folders (WNID/*.JPEG)".into();
        return Err(DataError::NoImages { path: root, reason });
    }
    let name = format!("{} {part} ({})", INFO.name, root.display());
    Listing { name, classes, files, warnings: left.warning().into_iter().collect() }
        .open(options.resize, options.keep)
}

fn label_of(classes: &[String], path: &Path, wnid: &str) -> Result<usize> {
    classes.binary_search_by(|class| class.as_str().cmp(wnid)).map_err(|_| DataError::UnknownClass {
        path: path.to_path_buf(),
        class: wnid.to_string(),
        expected: "one of ImageNet's 1,000 WordNet ids (for other classes, open it as `folder`)",
    })
}

/// The name of a file without its folder and ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The fields of the devkit's structures that are read.
pub(crate) const SYNSETS: [&str; 2] = ["ILSVRC2012_ID", "WNID"];

/// The classes of validation images that lie in one folder.
pub(crate) struct Truth {
    /// Path of the file with the classes.
    path: PathBuf,
    /// The WordNet id for each image's name without extension.
    wnids: HashMap<String, String>,
}

impl Truth {
    /// Finds the classes of these `images`. Entries of a list without an image are ignored.
    fn find(dir: &Path, images: &[PathBuf]) -> Result<Option<Self>> {
        let images = &images.iter().map(|path| stem(path)).collect();
        let dirs = [dir.to_path_buf(), dir.join("ILSVRC2012_devkit_t12"), dir.join("devkit")];
        // The file may be in the devkit, in a folder of its own name, or taken out of it together with `meta.mat`.
        let inner = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt";
        let truth =
            ["data/ILSVRC2012_validation_ground_truth.txt", inner, "ILSVRC2012_validation_ground_truth.txt"];
        if let Some(path) = locate(&dirs, &truth.map(String::from)) {
            let meta = path.with_file_name("meta.mat");
            let synsets = structures(&meta, "synsets", SYNSETS)?;
            let text = read_text(&path)?;
            return Self::of_devkit(path, &text, (&meta, &synsets), images).map(Some);
        }
        if let Some(path) = locate(&dirs, &["LOC_val_solution.csv".to_string()]) {
            let text = read_text(&path)?;
            return Self::of_kaggle(path, &text, images).map(Some);
        }
        match locate(&dirs, &["val.txt".to_string()]) {
            Some(path) => {
                let text = read_text(&path)?;
                Self::of_lines(path, &text, images).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Reads lines with one number of the devkit each, for images 1, 2, …; `meta.mat` gives the id of a number.
    pub(crate) fn of_devkit(
        path: PathBuf,
        text: &str,
        (meta, synsets): (&Path, &[[Value; 2]]),
        images: &HashSet<String>,
    ) -> Result<Self> {
        let ids: HashMap<usize, &str> =
            synsets.iter().filter_map(|[id, wnid]| Some((id.index()?, wnid.text()?))).collect();
        let mut wnids = HashMap::new();
        // A blank line within would shift the numbers; at the end an editor may have added it.
        for (line, text) in text.trim_end().lines().enumerate() {
            let wnid = text.trim().parse().ok().and_then(|id: usize| ids.get(&id)).ok_or_else(|| {
                let reason = format!("`{}` is not an ILSVRC2012_ID of {}", excerpt(text), meta.display());
                DataError::BadLine { path: path.clone(), line: line + 1, reason }
            })?;
            let name = format!("ILSVRC2012_val_{:08}", line + 1);
            if images.contains(&name) {
                wnids.insert(name, (*wnid).to_string());
            }
        }
        Ok(Self { path, wnids })
    }

    /// Reads lines `NAME,WNID x y x y …` after a header.
    pub(crate) fn of_kaggle(path: PathBuf, text: &str, images: &HashSet<String>) -> Result<Self> {
        let mut wnids = HashMap::new();
        for (line, text) in text.lines().enumerate().skip(1) {
            if text.trim().is_empty() {
                continue;
            }
            let parts = text.split_once(',').map(|(name, rest)| (name, rest.split_whitespace().next()));
            let Some((name, Some(wnid))) = parts else {
                let reason = format!("expected NAME,WNID …, found `{}`", excerpt(text));
                return Err(DataError::BadLine { path, line: line + 1, reason });
            };
            if images.contains(name.trim()) {
                wnids.insert(name.trim().to_string(), wnid.to_string());
            }
        }
        Ok(Self { path, wnids })
    }

    /// Reads lines `NAME CLASS`, with the WordNet id or its index in the sorted list of the thousand, as in Caffe's
    /// list.
    pub(crate) fn of_lines(path: PathBuf, text: &str, images: &HashSet<String>) -> Result<Self> {
        let mut wnids = HashMap::new();
        for (line, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            let wnid = text.split_whitespace().nth(1).and_then(|class| match class.parse::<usize>() {
                Ok(number) => imagenet_wnids().nth(number),
                Err(_) => imagenet_wnids().find(|wnid| *wnid == class),
            });
            let (Some(name), Some(wnid)) = (text.split_whitespace().next(), wnid) else {
                let text = excerpt(text);
                let reason = format!("expected NAME and a WordNet id or a number below 1000, found `{text}`");
                return Err(DataError::BadLine { path, line: line + 1, reason });
            };
            let name = stem(Path::new(name));
            if images.contains(&name) {
                wnids.insert(name, wnid.to_string());
            }
        }
        Ok(Self { path, wnids })
    }

    pub(crate) fn label(&self, file: &Path, classes: &[String]) -> Result<usize> {
        match self.wnids.get(&stem(file)) {
            Some(wnid) => label_of(classes, &self.path, wnid),
            None => Err(DataError::NotListed { path: file.to_path_buf(), list: self.path.clone() }),
        }
    }
}
