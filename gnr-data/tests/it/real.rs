//! Real data, which are too large for the repository: these tests run on request (`--run-ignored`), as in CI.

use std::path::Path;
use std::process::Command;

use gnr_data::{Keep, OpenOptions, Part, Resize, available_without_dir, class_counts, open, open_folder};
use tempfile::{TempDir, tempdir};

use crate::trees::shared;

#[test]
#[ignore = "needs the Debian package dataset-fashion-mnist"]
fn fashion_mnist_of_the_system() {
    assert!(available_without_dir("fashion-mnist").unwrap(), "dataset-fashion-mnist is not installed");
    for (part, count) in [(Part::Train, 60_000), (Part::Test, 10_000)] {
        let set = open("fashion-mnist", part, &OpenOptions::default()).unwrap();
        assert_eq!((set.len(), set.shape()), (count, [1, 28, 28]));
        assert_eq!(class_counts(set.as_ref()).unwrap(), vec![count / 10; 10]);
        if part == Part::Train {
            let (mut sum, mut squares) = (0u64, 0u64);
            for index in 0..count {
                for &pixel in set.image(index).unwrap().pixels.iter() {
                    sum += u64::from(pixel);
                    squares += u64::from(pixel) * u64::from(pixel);
                }
            }
            let n = (count * 784) as f64;
            let mean = sum as f64 / n / 255.0;
            let std = (squares as f64 / n / 255.0 / 255.0 - mean * mean).sqrt();
            // The preset has these numbers, rounded to four digits.
            assert!((mean - 0.2860).abs() < 5e-5 && (std - 0.3530).abs() < 5e-5, "{mean} {std}");
        }
    }
}

/// Extracts the files of an archive that match `patterns`.
fn extract(archive: &str, patterns: &[&str]) -> TempDir {
    let archive = shared(archive);
    let dir = tempdir().unwrap();
    let status = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(dir.path())
        .arg("--wildcards")
        .args(patterns)
        .status();
    assert!(matches!(&status, Ok(status) if status.success()), "tar with xz must be installed: {status:?}");
    dir
}

#[test]
#[ignore = "needs ../shared/data/cifar10-jpeg.tar.xz"]
fn cifar10_as_jpeg_files() {
    let dir = extract("data/cifar10-jpeg.tar.xz", &["train/*/000?.jpg", "test/*/000?.jpg"]);
    for part in [Part::Train, Part::Test] {
        let set = open("folder", part, &OpenOptions::dir(dir.path())).unwrap();
        assert_eq!((set.len(), set.shape()), (100, [3, 32, 32]));
        assert_eq!(class_counts(set.as_ref()).unwrap(), [10; 10]);
        assert_eq!(set.classes()[..3], ["airplane", "automobile", "bird"]);
    }
}

#[test]
#[ignore = "needs ../shared/data/imagenette224-subset.tar"]
fn photographs_of_imagenette() {
    let dir = extract("data/imagenette224-subset.tar", &["*/n01440764/*"]);
    let part = if Path::new(&dir.path().join("train")).is_dir() { Part::Train } else { Part::Test };
    let set = open_folder(dir.path(), part, None, Keep::OnDisk).unwrap();
    assert_eq!(set.shape(), [3, 224, 224]);
    (0..set.len()).for_each(|index| drop(set.image(index).unwrap())); // some are grey
    let small = open_folder(dir.path(), part, Some(Resize { shorter: 64, ..Resize::square(56) }), Keep::Auto)
        .unwrap();
    assert_eq!((small.len(), small.shape()), (set.len(), [3, 56, 56]));
}
