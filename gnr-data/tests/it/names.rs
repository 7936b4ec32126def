//! Names in file systems: bytes that are no text, and two forms of one letter. Also lists as editors on Windows write
//! them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gnr_data::{DataError, Dataset, OpenOptions, Part, Resize, open};
use tempfile::tempdir;

use crate::trees::{fixture, food_tree, pets_tree, save_rgb};

fn folder(dir: &Path, part: Part) -> Result<Arc<dyn Dataset>, DataError> {
    open("folder", part, &OpenOptions::dir(dir))
}

fn labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8_stay_different() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tempdir().unwrap();
    for part in ["train", "val"] {
        for (blue, name) in [&b"caf\xe9"[..], b"caf\xe8", "café".as_bytes(), b"tea"].into_iter().enumerate()
        {
            let class = dir.path().join(part).join(OsStr::from_bytes(name));
            (0..2).for_each(|k| save_rgb(&class.join(format!("{k}.png")), 2, 2, blue as u8));
        }
    }
    for part in [Part::Train, Part::Test] {
        let set = folder(dir.path(), part).unwrap();
        // Sorted by bytes, as torchvision sorts them.
        assert_eq!(set.classes(), ["café", "caf\\xE8", "caf\\xE9", "tea"]);
        assert_eq!(labels(set.as_ref()), [0, 0, 1, 1, 2, 2, 3, 3]);
        let blue: Vec<u8> = (0..8).map(|index| set.image(index).unwrap().pixels[8]).collect();
        assert_eq!(blue, [2, 2, 1, 1, 0, 0, 3, 3]);
        assert_eq!(set.warnings(), ["2 class names are not UTF-8: `caf\\xE8`, `caf\\xE9`"]);
    }
    // A class that only one part has is missing from the other, although another class looks like it.
    fs::remove_dir_all(dir.path().join("val").join(OsStr::from_bytes(b"caf\xe8"))).unwrap();
    let error = folder(dir.path(), Part::Test).err().unwrap();
    assert!(matches!(&error, DataError::ClassMismatch { class, .. } if class == "caf\\xE8"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_differ_only_in_form_are_two_classes_and_told() {
    let dir = tempdir().unwrap();
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    for name in ["Cat", "cat", composed, decomposed] {
        for part in ["train", "test"] {
            save_rgb(&dir.path().join(part).join(name).join("a.png"), 2, 2, 0);
        }
    }
    let set = folder(dir.path(), Part::Train).unwrap();
    assert_eq!(set.classes(), ["Cat", decomposed, composed, "cat"]);
    let warnings = set.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("\"cafe\\u{301}\" and \"café\" in "), "{warnings:?}");
    assert!(
        warnings[1].contains("\"Cat\" and \"cat\" in ")
            && warnings[1].contains("differ only in case, Unicode form or space"),
        "{warnings:?}"
    );
    // One part was copied through a Mac: the error shows a difference that the eye cannot see.
    fs::remove_dir_all(dir.path().join("test").join(composed)).unwrap();
    fs::remove_dir_all(dir.path().join("train").join(decomposed)).unwrap();
    let message = folder(dir.path(), Part::Test).err().unwrap().to_string();
    assert!(
        message.contains("\"cafe\\u{301}\" there differs from \"café\" only in case, Unicode form or space"),
        "{message}"
    );
}

/// The text with a byte-order mark, with line ends of Windows, and with a blank after each line.
fn of_windows(text: &str) -> Vec<u8> {
    format!("\u{feff}{}", text.replace('\n', " \r\n")).into_bytes()
}

/// The text in UTF-16.
fn wide(text: &str) -> Vec<u8> {
    let text = String::from_utf8(of_windows(text)).unwrap();
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn lists_written_on_windows_are_read() {
    let dir = tempdir().unwrap();
    pets_tree(dir.path());
    food_tree(dir.path());
    let photos = |name: &str| {
        open(
            name,
            Part::Train,
            &OpenOptions { resize: Some(Resize::square(8)), ..OpenOptions::dir(dir.path()) },
        )
    };
    for (name, list) in [
        ("oxford-pets", "oxford-iiit-pet/annotations/trainval.txt"),
        ("food101", "food-101/meta/train.json"),
        ("food101", "food-101/meta/train.txt"),
    ] {
        let path = dir.path().join(list);
        let text = fs::read_to_string(&path).unwrap();
        let expected = labels(photos(name).unwrap().as_ref());
        for bytes in [of_windows(&text), wide(&text)] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(labels(photos(name).unwrap().as_ref()), expected, "{list}");
        }
        fs::write(&path, b"\n\xe9\n").unwrap();
        let message = photos(name).err().unwrap().to_string();
        assert!(message.contains(":2: text that is not UTF-8 (byte 0xe9)"), "{message}");
        // Food-101's text list is read where there is no JSON.
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn lists_of_imagenet_written_on_windows_are_read() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("ILSVRC2012_devkit_t12/data");
    fs::create_dir_all(&data).unwrap();
    for number in 1..=2 {
        save_rgb(&dir.path().join(format!("val/ILSVRC2012_val_{number:08}.JPEG")), 8, 8, 4);
    }
    fs::write(data.join("meta.mat"), fixture("meta.mat")).unwrap();
    let truth = data.join("ILSVRC2012_validation_ground_truth.txt");
    let val = || open("imagenet", Part::Test, &OpenOptions::dir(dir.path()));
    for bytes in [of_windows("166\n490\n\n"), wide("166\n490\n")] {
        fs::write(&truth, bytes).unwrap();
        assert_eq!(labels(val().unwrap().as_ref()), [217, 0]);
    }
    fs::remove_file(&truth).unwrap();
    let csv = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\nILSVRC2012_val_00000002,n02102040 1 2 3 4\n\n";
    for bytes in [of_windows(csv), wide(csv)] {
        fs::write(dir.path().join("LOC_val_solution.csv"), bytes).unwrap();
        assert_eq!(labels(val().unwrap().as_ref()), [0, 217]);
    }
}
