//! Food-101: 101 dishes, listed in JSON and text files.
//!
//! Layout (below `food-101`, as the archive unpacks, or directly, or one folder deeper): images are
//! `images/CLASS/NUMBER.jpg`. `meta/{train,test}.json` is an object with a list of `CLASS/NUMBER` for each class.
//! `meta/{train,test}.txt` has these entries as lines, and is read where there is no JSON. Mirrors have `meta/meta` and
//! `images/images`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Listing, listed_file};
use super::places::Places;
use super::text::excerpt;
use super::{Part, read_text};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, OpenOptions, Unpack};

const HINT: &str = "gnr data fetch food101 --data-dir DIR (5 GB), or unpack http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz into DIR; \
                    then give DIR";

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "food101",
    summary: "Food-101, 101 dishes, RGB photographs of mixed sizes",
    shape: None,
    classes: Some(101),
    counts: Some([75_750, 25_250]),
    fetch_hint: HINT,
    layouts: "meta/{train,test}.{json,txt} and images/CLASS/*.jpg; in food-101, the given folder, or one deeper; also meta/meta and images/images",
    licence: "the photographers' (foodspotting.com); scientific fair use",
    augmentation: Augmentation::IMAGENET,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[Download {
        urls: &["http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"],
        file: "food-101.tar.gz",
        md5: "85eeb15f3717b99a5da872d97d918f87",
        unpack: Unpack::Tar { into: "" },
        limit: 8 << 30,
    }],
    opener: |options, part| open(options, part),
};

fn open(options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let places = Places::new(INFO.name, HINT, options.dir.as_deref(), &["food-101", ""], |_| true);
    let list = ["meta", "meta/meta"]
        .iter()
        .flat_map(|meta| ["json", "txt"].map(|end| format!("{meta}/{part}.{end}")));
    let list = places.file(&list.collect::<Vec<_>>())?;
    let images = places.folder("images")?;
    let text = read_text(&list)?;
    let (classes, files) = entries(&list, &text, &images)?;
    let name = format!("{} {part} ({})", INFO.name, list.display());
    Listing { name, classes, files, warnings: Vec::new() }.open(options.resize, options.keep)
}

/// The classes, and the images with the index of their class.
pub(crate) type Entries = (Vec<String>, Vec<(PathBuf, usize)>);

/// Reads classes and images of a list with the text `text`: JSON by the ending of its name, else lines.
pub(crate) fn entries(list: &Path, text: &str, images: &Path) -> Result<Entries> {
    let listed = match list.extension().is_some_and(|extension| extension == "json") {
        true => from_json(list, text)?,
        false => from_lines(list, text)?,
    };
    let classes: Vec<String> = listed.keys().cloned().collect();
    let mut files = Vec::new();
    for (label, (class, names)) in listed.iter().enumerate() {
        for (record, name) in names.iter().enumerate() {
            let name = name.trim();
            if name.split('/').next() != Some(class.as_str()) {
                let reason = format!("`{}` is listed under `{}`", excerpt(name), excerpt(class));
                return Err(DataError::BadLine { path: list.to_path_buf(), line: record + 1, reason });
            }
            files.push((listed_file(list, record, images, &format!("{name}.jpg"))?, label));
        }
    }
    Ok((classes, files))
}

type Listed = BTreeMap<String, Vec<String>>;

fn from_json(path: &Path, text: &str) -> Result<Listed> {
    serde_json::from_str(text).map_err(|error| DataError::BadLine {
        path: path.to_path_buf(),
        line: error.line(),
        reason: format!("expected {{\"CLASS\": [\"CLASS/NUMBER\", …], …}}: {error}"),
    })
}

fn from_lines(path: &Path, text: &str) -> Result<Listed> {
    let mut listed = Listed::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let Some((class, _)) = line.split_once('/') else {
            if line.is_empty() {
                continue;
            }
            let reason = format!("expected CLASS/NUMBER, found `{}`", excerpt(line));
            return Err(DataError::BadLine { path: path.to_path_buf(), line: number + 1, reason });
        };
        listed.entry(class.to_string()).or_default().push(line.to_string());
    }
    Ok(listed)
}
