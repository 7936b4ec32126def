//! The readers of files, applied to contents instead of files, for tests that damage files a million times. Feature
//! `testing`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::cars::{fields_of, names_of};
use super::imagenet::imagenet_wnids;
use super::imagenet::{SYNSETS, Truth};
use super::mat::Value;
use super::read::Input;
use super::text::text_of;
use super::{cifar, food101, idx, mat_of, pets};
use crate::error::Result;
use crate::label_noise::labels_of;
use crate::verify::decompress;

#[cfg(feature = "fetch")]
pub use crate::fetch::unpack_archive;

/// A reader: gets the contents of a file, and a folder with the images that a list names.
pub type Reader = fn(&[u8], &Path) -> Result<()>;

/// All readers, by name.
pub const READERS: &[(&str, Reader)] = &[
    ("idx", |bytes, _| idx::parse(FILE.as_ref(), Input::bytes(FILE.as_ref(), bytes)?, 3).map(drop)),
    ("gzip", |bytes, _| decompress(FILE.as_ref(), bytes)),
    ("cifar-binary", |bytes, _| either(|set| cifar::in_memory::binary(set, FILE.as_ref(), bytes))),
    ("cifar-pickle", |bytes, _| either(|set| cifar::in_memory::pickle(set, FILE.as_ref(), bytes))),
    ("cifar-meta", |bytes, _| either(|set| cifar::in_memory::pickled_names(set, FILE.as_ref(), bytes))),
    ("cifar-names", |bytes, _| either(|set| cifar::in_memory::names(set, FILE.as_ref(), bytes))),
    ("mat", |bytes, _| annotations(bytes)),
    ("labels", |bytes, _| labels_of(FILE.as_ref(), bytes, 6, 3).map(drop)),
    ("pets", |bytes, images| pets::entries(FILE.as_ref(), &text_of(FILE.as_ref(), bytes)?, images).map(drop)),
    ("food-json", |bytes, images| food("train.json", bytes, images)),
    ("food-lines", |bytes, images| food("train.txt", bytes, images)),
    ("imagenet-devkit", |bytes, _| {
        truth(bytes, |text, images| Truth::of_devkit(FILE.into(), text, (FILE.as_ref(), &synsets()), images))
    }),
    ("imagenet-kaggle", |bytes, _| truth(bytes, |text, images| Truth::of_kaggle(FILE.into(), text, images))),
    ("imagenet-lines", |bytes, _| truth(bytes, |text, images| Truth::of_lines(FILE.into(), text, images))),
];

/// The path that errors name.
const FILE: &str = "FILE";

/// Reads as CIFAR-10 or, if that fails, as CIFAR-100.
fn either(read: impl Fn(usize) -> Result<()>) -> Result<()> {
    read(0).or_else(|error| read(1).map_err(|_| error))
}

/// Reads the variables of a MAT-file, and what Stanford Cars and ImageNet's devkit use of them.
fn annotations(bytes: &[u8]) -> Result<()> {
    let path = Path::new(FILE);
    for (name, value) in mat_of(path, bytes)? {
        match name.as_str() {
            "annotations" if path_of_all(&value) => {
                drop(fields_of(path, value, &name, ["class", "relative_im_path", "test"])?);
            }
            "annotations" => drop(fields_of(path, value, &name, ["class", "fname"])?),
            "synsets" => drop(fields_of(path, value, &name, SYNSETS)?),
            "class_names" => drop(names_of(path, Some(value))?),
            _ => {}
        }
    }
    Ok(())
}

/// Whether annotations are those of older copies, which have all images in one list.
fn path_of_all(value: &Value) -> bool {
    matches!(value, Value::Struct { fields, .. } if fields.iter().any(|field| field == "relative_im_path"))
}

fn food(name: &str, bytes: &[u8], images: &Path) -> Result<()> {
    let path = Path::new(name);
    food101::entries(path, &text_of(path, bytes)?, images).map(drop)
}

/// Two synsets in the form of ImageNet's devkit.
fn synsets() -> [[Value; 2]; 2] {
    [(166.0, "n02102040"), (490.0, "n01440764")]
        .map(|(id, wnid)| [Value::Numbers(vec![id]), Value::Text(wnid.to_owned())])
}

/// Reads the classes of two validation images from a list.
fn truth(bytes: &[u8], read: impl Fn(&str, &HashSet<String>) -> Result<Truth>) -> Result<()> {
    let images = ["ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002"];
    let truth = read(&text_of(FILE.as_ref(), bytes)?, &images.map(String::from).into())?;
    static CLASSES: LazyLock<Vec<String>> = LazyLock::new(|| imagenet_wnids().map(String::from).collect());
    images.iter().try_for_each(|name| truth.label(&PathBuf::from(name), &CLASSES).map(drop))
}
