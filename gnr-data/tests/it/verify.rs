//! `verify` finds damaged files in trees of every format, and no others.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use gnr_data::{DataError, verify};
use tempfile::tempdir;

use crate::trees::{
    cars_tree, cifar_pickle, cifar10_tree, cifar100_tree, gzip, image_tree, mnist_tree, save_rgb,
};

#[test]
fn whole_trees_pass_and_every_damaged_file_is_listed() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    image_tree(&at(""));
    for folder in ["mnist", "cars"] {
        fs::create_dir(at(folder)).unwrap();
    }
    mnist_tree(&at("mnist"), [20, 5], true);
    cars_tree(&at("cars"));
    let cifar10 = cifar10_tree(dir.path());
    let cifar100 = cifar100_tree(dir.path());
    fs::write(at("test_batch"), cifar_pickle("labels", &[1, 2])).unwrap();
    fs::write(at("archive.tar.gz"), gzip(b"anything")).unwrap();
    fs::write(at("README"), "not data").unwrap();
    fs::write(at("train/ant/._a.jpg"), "hidden: not looked at").unwrap();
    let told = AtomicUsize::new(0);
    let report = verify(dir.path(), &|_, of| {
        told.fetch_max(of, Ordering::Relaxed);
    })
    .unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    // 8 PNG, 4 IDX, 3 MAT, 5 JPEG, 6 + 2 CIFAR binary, a pickle, a gzip file.
    assert_eq!((report.checked, report.skipped, told.into_inner()), (30, 1, 30));

    save_rgb(&at("train/ant/photo.jpg"), 40, 30, 9);
    let cut = |path: &std::path::Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
    };
    let expected = [
        at("archive.tar.gz"),
        at("cars/stanford_cars/cars_train/00002.jpg"),
        at("cars/stanford_cars/devkit/cars_train_annos.mat"),
        cifar10.join("data_batch_3.bin"),
        cifar100.join("test.bin"),
        at("mnist/t10k-labels-idx1-ubyte.gz"),
        at("test_batch"),
        at("train/ant/photo.jpg"),
        at("train/bee/b.png"),
    ];
    expected.iter().for_each(|path| cut(path));
    let report = verify(dir.path(), &|_, _| {}).unwrap();
    assert_eq!(report.damaged.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), expected);
    for (path, error) in &report.damaged {
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    // A single file may be checked, too.
    assert_eq!(verify(&expected[8], &|_, _| {}).unwrap().damaged.len(), 1);
}

#[test]
fn what_is_whole_and_not_read_is_not_called_damaged() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("phone.jpg"), b"\0\0\0\x18ftypheic\0\0\0\0").unwrap();
    fs::write(dir.path().join("train-labels-idx1-ubyte"), b"<html>").unwrap();
    fs::write(dir.path().join("train"), cifar_pickle("fine_labels", &[1, 2])).unwrap();
    fs::write(dir.path().join("empty.webp"), b"").unwrap();
    #[cfg(unix)]
    let _ = std::process::Command::new("mkfifo").arg(dir.path().join("pipe.png")).status();
    let report = verify(dir.path(), &|_, _| {}).unwrap();
    let names = |list: &[(std::path::PathBuf, DataError)]| -> Vec<String> {
        list.iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(report.checked, 4);
    assert_eq!(names(&report.damaged), ["empty.webp"]);
    assert_eq!(names(&report.unread), ["phone.jpg", "train-labels-idx1-ubyte"]);
    assert!(report.unread.iter().all(|(_, error)| !error.to_string().contains("damaged")));
}

#[test]
fn nothing_to_check_is_an_error() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let error = verify(dir.path(), &|_, _| {}).unwrap_err();
    assert!(
        matches!(&error, DataError::NoImages { reason, .. } if reason.contains("1 files of other kinds")),
        "{error}"
    );
    assert!(verify(&dir.path().join("nowhere"), &|_, _| {}).is_err());
}

/// The loader reads linked class folders and names that are not UTF-8, so both are checked.
#[cfg(unix)]
#[test]
fn links_and_names_that_are_not_utf8_are_checked() {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};
    let (dir, real) = (tempdir().unwrap(), tempdir().unwrap());
    save_rgb(&real.path().join("a.png"), 4, 4, 1);
    let odd = real.path().join(std::ffi::OsStr::from_bytes(b"r\xe9.PNG"));
    fs::write(&odd, b"no image").unwrap();
    fs::create_dir(dir.path().join("train")).unwrap();
    symlink(real.path(), dir.path().join("train/c")).unwrap();
    // A second link to the folder adds nothing.
    fs::create_dir(dir.path().join("test")).unwrap();
    symlink(real.path(), dir.path().join("test/c")).unwrap();
    // Each link back is left out: to the linked folder itself, and to the folder that was given.
    symlink(real.path(), real.path().join("self")).unwrap();
    symlink(dir.path(), dir.path().join("train/around")).unwrap();
    let report = verify(dir.path(), &|_, _| {}).unwrap();
    assert_eq!((report.checked, report.skipped), (2, 2));
    let refused: Vec<_> =
        report.damaged.iter().chain(&report.unread).map(|(path, _)| path.file_name()).collect();
    assert_eq!(refused, [odd.file_name()]);
}
