//! The registry: names, hints, and one matrix with a line for every data set.

use std::path::Path;

use gnr_data::{
    DataError, Loader, LoaderConfig, Normalization, OpenOptions, Part, Resize, available_without_dir,
    class_counts, find, open, registry,
};
use tempfile::tempdir;

use crate::trees;

type Maker = fn(&Path);

/// Every registered data set, with a function that makes a small tree of it.
const MATRIX: [(&str, Maker); 17] = [
    ("digits", |_| {}),
    ("mnist", |dir| trees::mnist_tree(dir, [20, 5], true)),
    ("fashion-mnist", |dir| trees::mnist_tree(dir, [20, 5], false)),
    ("kmnist", |dir| trees::mnist_tree(dir, [20, 5], true)),
    ("emnist-balanced", |dir| trees::emnist_tree(dir, "balanced", 0)),
    ("emnist-byclass", |dir| trees::emnist_tree(dir, "byclass", 0)),
    ("emnist-bymerge", |dir| trees::emnist_tree(dir, "bymerge", 0)),
    ("emnist-letters", |dir| trees::emnist_tree(dir, "letters", 1)),
    ("emnist-digits", |dir| trees::emnist_tree(dir, "digits", 0)),
    ("emnist-mnist", |dir| trees::emnist_tree(dir, "mnist", 0)),
    ("cifar10", |dir| drop(trees::cifar10_tree(dir))),
    ("cifar100", |dir| drop(trees::cifar100_tree(dir))),
    ("imagenet", trees::imagenet_tree),
    ("stanford-cars", trees::cars_tree),
    ("oxford-pets", trees::pets_tree),
    ("food101", trees::food_tree),
    ("folder", trees::image_tree),
];

#[test]
fn every_data_set_opens_and_loads() {
    assert_eq!(registry().iter().map(|info| info.name).collect::<Vec<_>>(), MATRIX.map(|(name, _)| name));
    for (name, make) in MATRIX {
        let dir = tempdir().unwrap();
        make(dir.path());
        let info = find(name).unwrap();
        for part in [Part::Train, Part::Test] {
            let mut options = match name {
                "digits" => OpenOptions::default(),
                _ => OpenOptions::dir(dir.path()),
            };
            options.resize = info.shape.is_none().then(|| Resize::square(24));
            let set = info.open(part, &options).unwrap();
            assert!(set.describe().starts_with(&format!("{name} {part} (")), "{}", set.describe());
            assert_eq!(class_counts(set.as_ref()).unwrap().iter().sum::<usize>(), set.len());
            assert_eq!(set.classes().len(), info.classes.unwrap_or(2));
            assert_eq!(info.normalization(), Normalization::preset(info.preset).unwrap());
            if let Some([channels, ..]) = info.shape {
                assert_eq!(channels, set.shape()[0]);
            }
            let config = LoaderConfig::evaluation(3, info.normalization());
            let images: usize = Loader::new(set.clone(), config)
                .unwrap()
                .epoch(0, 0)
                .unwrap()
                .map(|batch| batch.unwrap().len())
                .sum();
            assert_eq!(images, set.len());
        }
    }
}

#[test]
fn every_data_set_is_described() {
    for info in registry() {
        let name = info.name;
        assert!(info.summary.len() > 10, "{name}: {:?} is no summary", info.summary);
        assert!(!info.layouts.is_empty() && !info.fetch_hint.is_empty(), "{name}: layouts and how to get it");
        assert!(!info.licence.is_empty(), "{name}: the licence, or `unknown`");
    }
}

#[test]
fn missing_folders_come_with_a_recipe() {
    for info in registry().iter().filter(|info| info.name != "digits") {
        let empty = tempdir().unwrap();
        let error = info.open(Part::Train, &OpenOptions::dir(empty.path())).err().unwrap();
        let message = error.to_string();
        assert!(matches!(error, DataError::MissingData { .. }), "{message}");
        assert!(message.contains(info.fetch_hint) && message.contains(&empty.path().display().to_string()));
    }
}

#[test]
fn slips_of_the_pen_are_recognised() {
    for (typed, meant) in [
        ("cifar-10", Some("cifar10")),
        ("CIFAR100", Some("cifar100")),
        ("digit", Some("digits")),
        ("fashionmnist", Some("fashion-mnist")),
        ("minst", Some("mnist")),
        ("folders", Some("folder")),
        ("xyz", None),
    ] {
        match find(typed).err().unwrap() {
            DataError::UnknownDataset { name, nearest, known } => {
                assert_eq!((name.as_str(), nearest), (typed, meant));
                assert_eq!(known, MATRIX.map(|(name, _)| name).join(", "));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_embedded_digits_have_no_folder() {
    let error = open("digits", Part::Test, &OpenOptions::dir("elsewhere")).err().unwrap().to_string();
    assert!(error.starts_with("`data.dir` = elsewhere: digits is embedded in the program"), "{error}");
}

#[test]
fn only_digits_is_sure_to_be_there() {
    assert!(available_without_dir("digits").unwrap());
    assert!(!available_without_dir("cifar10").unwrap());
    assert!(available_without_dir("cifar").is_err());
}

#[test]
fn downloads_are_complete() {
    for info in registry() {
        for download in info.downloads {
            assert!(
                download.md5.len() == 32 && download.md5.chars().all(|c| c.is_ascii_hexdigit()),
                "{download:?}"
            );
            assert!(download.limit > 0 && !download.file.contains(['/', '\\']));
            assert!(download.urls.iter().all(|url| url.ends_with(download.file)), "{download:?}");
        }
    }
}
