//! ImageNet's layouts, on generated trees.

use std::fs;

use gnr_data::{DataError, OpenOptions, Part, Resize, imagenet_wnids, open};
use tempfile::tempdir;

use crate::trees::{imagenet_tree, save_rgb};

fn options(dir: &std::path::Path) -> OpenOptions {
    OpenOptions { resize: Some(Resize::square(32)), ..OpenOptions::dir(dir) }
}

#[test]
fn labels_are_those_of_published_weights_whatever_classes_are_there() {
    let dir = tempdir().unwrap();
    imagenet_tree(dir.path());
    for part in [Part::Train, Part::Test] {
        let set = open("imagenet", part, &options(dir.path())).unwrap();
        assert_eq!((set.len(), set.shape(), set.classes().len()), (2, [3, 32, 32], 1000));
        // The tench is class 0, the English springer class 217.
        assert_eq!((0..2).map(|i| set.label(i).unwrap()).collect::<Vec<_>>(), [0, 217]);
        assert_eq!(set.classes()[217], "n02102040");
    }
}

#[test]
fn kaggles_folders_are_found() {
    let dir = tempdir().unwrap();
    imagenet_tree(&dir.path().join("ILSVRC/Data/CLS-LOC"));
    assert_eq!(open("imagenet", Part::Test, &options(dir.path())).unwrap().len(), 2);
}

#[test]
fn the_thousand_ids_are_sorted() {
    let wnids: Vec<_> = imagenet_wnids().collect();
    assert_eq!((wnids.len(), wnids[0], wnids[999]), (1000, "n01440764", "n15075141"));
    assert!(wnids.is_sorted() && wnids.iter().all(|wnid| wnid.len() == 9 && wnid.starts_with('n')));
}

#[test]
fn other_classes_are_refused() {
    let dir = tempdir().unwrap();
    imagenet_tree(dir.path());
    let other = dir.path().join("train/n00000001");
    save_rgb(&other.join("a.JPEG"), 32, 32, 0);
    let error = open("imagenet", Part::Train, &options(dir.path())).err().unwrap();
    assert!(
        matches!(&error, DataError::UnknownClass { path, class, .. } if *path == other && class == "n00000001")
    );
    fs::remove_dir_all(dir.path().join("train")).unwrap();
    fs::create_dir_all(dir.path().join("train/n01440764")).unwrap();
    assert!(matches!(open("imagenet", Part::Train, &options(dir.path())), Err(DataError::NoImages { .. })));
}
