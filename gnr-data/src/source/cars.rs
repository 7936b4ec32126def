//! Stanford Cars: 196 models of cars, annotations in MATLAB files.
//!
//! Layout, as published and as torchvision keeps it (below `stanford_cars` or directly, or one folder deeper):
//! `devkit/cars_meta.mat` with the class names, `devkit/cars_train_annos.mat` and `cars_test_annos_withlabels.mat`
//! (beside or inside `devkit`) with file names and classes from 1, images in `cars_train` and `cars_test`. Mirrors have
//! `cars_train/cars_train` and `car_devkit/devkit`. Older copies have one list `cars_annos.mat` of all images, which
//! are in `car_ims`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Listing, listed_file};
use super::mat::Value;
use super::places::Places;
use super::text::excerpt;
use super::{Part, mat_variables};
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
    layouts: "devkit/{cars_meta,cars_train_annos}.mat, cars_test_annos_withlabels.mat, cars_train/*.jpg, cars_test/*.jpg, also cars_train/cars_train and \
              car_devkit/devkit; or cars_annos.mat and car_ims/*.jpg; in stanford_cars, the given folder, or one deeper",
    licence: "ImageNet terms of access (non-commercial research and education)",
    augmentation: Augmentation::IMAGENET,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[],
    opener: |options, part| open(options, part),
};

/// The paths of a file of the devkit in all folders where it may be.
fn of_devkit(name: &str) -> Vec<String> {
    ["devkit/", "", "car_devkit/devkit/", "devkit/devkit/"]
        .iter()
        .map(|folder| format!("{folder}{name}"))
        .collect()
}

fn open(options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let places = Places::new(INFO.name, HINT, options.dir.as_deref(), &["stanford_cars", ""], |_| true);
    let annotations = match part {
        Part::Train => places.file(&of_devkit("cars_train_annos.mat")),
        Part::Test => {
            // The site's own list of the test images is last: it has no classes, and the error then says so.
            let mut names = vec!["cars_test_annos_withlabels.mat".to_string()];
            names.extend(of_devkit("cars_test_annos_withlabels.mat"));
            names.extend(of_devkit("cars_test_annos.mat"));
            places.file(&names)
        }
    };
    let (list, images, classes, files);
    match (annotations, places.optional_file(&of_devkit("cars_annos.mat"))) {
        // Older copies have all images in one list and one folder.
        (Err(_), Some(all)) => {
            images = places.folder("car_ims")?;
            classes = match places.optional_file(&of_devkit("cars_meta.mat")) {
                Some(meta) => class_names(&meta)?,
                None => class_names(&all)?,
            };
            files = all_entries(&all, &images, classes.len(), part)?;
            list = all;
        }
        (annotations, _) => {
            list = annotations?;
            images = places.folder(match part {
                Part::Train => "cars_train",
                Part::Test => "cars_test",
            })?;
            classes = class_names(&places.file(&of_devkit("cars_meta.mat"))?)?;
            files = entries(&list, &images, classes.len())?;
        }
    }
    if files.is_empty() {
        return Err(DataError::NoImages { path: list, reason: format!("no {part} images are listed") });
    }
    let name = format!("{} {part} ({})", INFO.name, images.display());
    Listing { name, classes, files, warnings: Vec::new() }.open(options.resize, options.keep)
}

fn unknown(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::UnknownLayout { path: path.to_path_buf(), format: "MAT-file", reason: reason.into() }
}

/// The variable `name` of a MAT-file, if it has one.
fn variable_of(path: &Path, name: &str) -> Result<Option<Value>> {
    Ok(mat_variables(path)?.into_iter().find(|(found, _)| found == name).map(|(_, value)| value))
}

/// The variable `name` of a MAT-file; an error if it has none.
pub(super) fn variable(path: &Path, name: &str) -> Result<Value> {
    let mut variables = mat_variables(path)?;
    match variables.iter().position(|(found, _)| found == name) {
        Some(at) => Ok(variables.swap_remove(at).1),
        None => {
            let names: Vec<String> =
                variables.iter().take(6).map(|(name, _)| format!("`{}`", excerpt(name))).collect();
            let found = if names.is_empty() { "none".into() } else { names.join(", ") };
            Err(unknown(path, format!("expected a variable `{name}`, found {found}")))
        }
    }
}

/// The values of `fields` in each element of the structure array `variable` of a MAT-file.
pub(super) fn structures<const N: usize>(
    path: &Path,
    name: &str,
    fields: [&str; N],
) -> Result<Vec<[Value; N]>> {
    fields_of(path, variable(path, name)?, name, fields)
}

/// Reads [`structures`] from the variable's value.
pub(crate) fn fields_of<const N: usize>(
    path: &Path,
    value: Value,
    name: &str,
    fields: [&str; N],
) -> Result<Vec<[Value; N]>> {
    let Value::Struct { fields: known, mut elements } = value else {
        return Err(unknown(path, format!("`{name}` is not a structure array")));
    };
    let mut places = [0; N];
    for (place, field) in places.iter_mut().zip(&fields) {
        let found = known.iter().position(|known| known == *field);
        *place = found.ok_or_else(|| {
            let without =
                if *field == "class" { " (is it the list of test images without classes?)" } else { "" };
            let known: Vec<_> = known.iter().take(12).map(|known| excerpt(known)).collect();
            unknown(path, format!("`{name}` has no field `{field}`{without}; it has {}", known.join(", ")))
        })?;
    }
    Ok(elements
        .iter_mut()
        .map(|element| places.map(|at| std::mem::replace(&mut element[at], Value::Other)))
        .collect())
}

/// Reads the list `class_names`. `cars_annos.mat` may lack it; numbers then serve as names.
fn class_names(path: &Path) -> Result<Vec<String>> {
    names_of(path, variable_of(path, "class_names")?)
}

/// Reads [`class_names`] from the variable's value, if there is one.
pub(crate) fn names_of(path: &Path, value: Option<Value>) -> Result<Vec<String>> {
    let names = match value {
        Some(Value::Cell(names)) => names.iter().map(|name| name.text().map(String::from)).collect(),
        None if path.ends_with("cars_annos.mat") => {
            Some((1..=196).map(|class| format!("class {class}")).collect())
        }
        None => return Err(unknown(path, "no variable `class_names`")),
        Some(_) => None,
    };
    let names: Vec<String> = names.ok_or_else(|| unknown(path, "`class_names` is not a list of texts"))?;
    match names.len() {
        found if INFO.classes.is_some_and(|expected| found > expected) || found == 0 => {
            Err(DataError::ClassNames { path: path.to_path_buf(), expected: 196, found })
        }
        _ => Ok(names),
    }
}

fn entries(path: &Path, images: &Path, classes: usize) -> Result<Vec<(PathBuf, usize)>> {
    let mut files = Vec::new();
    let annotations = structures(path, "annotations", ["class", "fname"])?;
    for (record, [class, file]) in annotations.iter().enumerate() {
        files.push(entry(path, record, images, (class, file), classes)?);
    }
    Ok(files)
}

/// The images of one part in a list of all images: `test` tells the parts apart, and names start with the folder
/// `car_ims`.
fn all_entries(path: &Path, images: &Path, classes: usize, part: Part) -> Result<Vec<(PathBuf, usize)>> {
    let mut files = Vec::new();
    let fields = ["class", "relative_im_path", "test"];
    for (record, [class, file, test]) in structures(path, "annotations", fields)?.into_iter().enumerate() {
        let test = match test.index() {
            Some(flag @ (0 | 1)) => flag == 1,
            _ => {
                return Err(unknown(
                    path,
                    format!("annotation {record}: expected 0 or 1 as `test`, found another value"),
                ));
            }
        };
        if test == (part == Part::Test) {
            let file = match file {
                Value::Text(name) => Value::Text(name.trim_start_matches("car_ims/").to_string()),
                other => other,
            };
            files.push(entry(path, record, images, (&class, &file), classes)?);
        }
    }
    Ok(files)
}

fn entry(
    path: &Path,
    record: usize,
    images: &Path,
    (class, file): (&Value, &Value),
    classes: usize,
) -> Result<(PathBuf, usize)> {
    let (Some(class), Some(file)) = (class.index(), file.text()) else {
        return Err(unknown(path, format!("annotation {record}: no class or no file name")));
    };
    if !(1..=classes).contains(&class) {
        return Err(unknown(path, format!("annotation {record}: class {class} is not in 1..={classes}")));
    }
    Ok((listed_file(path, record, images, file)?, class - 1))
}
