//! Stanford Cars: 196 models of cars, annotations in MATLAB files.
//!
//! Layout, as published and as torchvision keeps it (below `stanford_cars` or directly): `devkit/cars_meta.mat` with the
//! class names, `devkit/cars_train_annos.mat` and `cars_test_annos_withlabels.mat` (beside or inside `devkit`) with file names and
//! classes from 1, images in `cars_train` and `cars_test`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Listing, listed_file};
use super::mat::Value;
use super::{Part, locate, mat_variables};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, OpenOptions};

const HINT: &str = "the published address is gone; from a copy (Kaggle: stanford-cars-dataset) arrange DIR/devkit/{cars_meta,cars_train_annos}.mat, \
                    DIR/cars_test_annos_withlabels.mat, DIR/cars_train/*.jpg, DIR/cars_test/*.jpg and give DIR";

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "stanford-cars",
    summary: "Stanford Cars, 196 models, RGB photographs of mixed sizes",
    shape: None,
    classes: Some(196),
    counts: Some([8_144, 8_041]),
    fetch_hint: HINT,
    licence: "ImageNet terms of access (non-commercial research and education)",
    augmentation: Augmentation::IMAGENET,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[],
    opener: |options, part| open(options, part),
};

fn open(options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let dirs: Vec<PathBuf> =
        options.dir.iter().flat_map(|dir| [dir.join("stanford_cars"), dir.clone()]).collect();
    let find = |names: &[&str]| {
        let candidates: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        locate(&dirs, &candidates).ok_or_else(|| DataError::MissingData {
            dataset: INFO.name,
            what: names[0].to_string(),
            looked_in: dirs.clone(),
            hint: HINT,
        })
    };
    let (annotations, images) = match part {
        Part::Train => {
            (find(&["devkit/cars_train_annos.mat", "cars_train_annos.mat"])?, find(&["cars_train"])?)
        }
        Part::Test => (
            find(&["cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"])?,
            find(&["cars_test"])?,
        ),
    };
    let classes = class_names(&find(&["devkit/cars_meta.mat", "cars_meta.mat"])?)?;
    let files = entries(&annotations, &images, classes.len())?;
    let name = format!("{} {part} ({})", INFO.name, images.display());
    Listing { name, classes, files }.open(options.resize, options.keep)
}

fn malformed(path: &Path, offset: usize, reason: impl Into<String>) -> DataError {
    DataError::Malformed {
        path: path.to_path_buf(),
        format: "MAT-file",
        offset: offset as u64,
        reason: reason.into(),
    }
}

/// The variable `name` of a MAT-file.
pub(super) fn variable(path: &Path, name: &str) -> Result<Value> {
    let found = mat_variables(path)?.into_iter().find(|(found, _)| found == name).map(|(_, value)| value);
    found.ok_or_else(|| malformed(path, 0, format!("no variable `{name}`")))
}

/// For each element of the structure array `variable` of a MAT-file, the values of `fields`.
pub(super) fn structures<const N: usize>(
    path: &Path,
    name: &str,
    fields: [&str; N],
) -> Result<Vec<[Value; N]>> {
    let Value::Struct { fields: known, mut elements } = variable(path, name)? else {
        return Err(malformed(path, 0, format!("`{name}` is not a structure array")));
    };
    let mut places = [0; N];
    for (place, field) in places.iter_mut().zip(fields) {
        let found = known.iter().position(|known| known == field);
        *place = found.ok_or_else(|| malformed(path, 0, format!("`{name}` has no field `{field}`")))?;
    }
    Ok(elements
        .iter_mut()
        .map(|element| places.map(|at| std::mem::replace(&mut element[at], Value::Other)))
        .collect())
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    let names = match variable(path, "class_names")? {
        Value::Cell(names) => names.iter().map(|name| name.text().map(String::from)).collect(),
        _ => None,
    };
    let names: Vec<String> =
        names.ok_or_else(|| malformed(path, 0, "`class_names` is not a list of texts"))?;
    match names.len() {
        found if INFO.classes.is_some_and(|expected| found > expected) || found == 0 => {
            Err(DataError::ClassNames { path: path.to_path_buf(), expected: 196, found })
        }
        _ => Ok(names),
    }
}

fn entries(path: &Path, images: &Path, classes: usize) -> Result<Vec<(PathBuf, usize)>> {
    let mut files = Vec::new();
    for (record, [class, file]) in structures(path, "annotations", ["class", "fname"])?.iter().enumerate() {
        let (Some(class), Some(file)) = (class.index(), file.text()) else {
            return Err(malformed(path, 0, format!("annotation {record}: no class or no file name")));
        };
        if !(1..=classes).contains(&class) {
            return Err(malformed(
                path,
                0,
                format!("annotation {record}: class {class} is not in 1..={classes}"),
            ));
        }
        files.push((listed_file(path, record, images, file)?, class - 1));
    }
    Ok(files)
}
