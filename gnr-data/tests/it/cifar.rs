//! CIFAR's binary version, on generated trees.

use std::fs;

use gnr_data::{DataError, OpenOptions, Part, open};
use tempfile::tempdir;

use crate::trees::{cifar_records, cifar10_tree, cifar100_tree};

#[test]
fn cifar10_batches_are_read_in_order() {
    let dir = tempdir().unwrap();
    let folder = cifar10_tree(dir.path());
    // The folder itself and the one that holds it are both accepted.
    for given in [dir.path(), &folder] {
        let train = open("cifar10", Part::Train, &OpenOptions::dir(given)).unwrap();
        assert_eq!((train.len(), train.shape()), (10, [3, 32, 32]));
        let labels: Vec<usize> = (0..10).map(|i| train.label(i).unwrap()).collect();
        assert_eq!(labels, [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
        assert!(train.image(9).unwrap().pixels.iter().all(|&pixel| pixel == 1));
        assert_eq!(train.classes()[9], "truck");
        let test = open("cifar10", Part::Test, &OpenOptions::dir(given)).unwrap();
        assert_eq!(test.len(), 2);
    }
}

#[test]
fn cifar100_uses_the_fine_label() {
    let dir = tempdir().unwrap();
    let folder = cifar100_tree(dir.path());
    let train = open("cifar100", Part::Train, &OpenOptions::dir(dir.path())).unwrap();
    assert_eq!((0..3).map(|i| train.label(i).unwrap()).collect::<Vec<_>>(), [99, 1, 0]);
    assert_eq!((train.classes().len(), train.classes()[99].as_str()), (100, "worm"));
    let test = open("cifar100", Part::Test, &OpenOptions::dir(folder)).unwrap();
    assert_eq!(test.classes()[test.label(0).unwrap()], "leopard");
}

#[test]
fn names_come_from_the_archive() {
    let dir = tempdir().unwrap();
    let names = cifar10_tree(dir.path()).join("batches.meta.txt");
    let open = || open("cifar10", Part::Test, &OpenOptions::dir(dir.path()));
    fs::write(&names, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
    assert_eq!(open().unwrap().classes()[3], "d");
    fs::write(&names, "a\nb\n").unwrap();
    assert!(matches!(open(), Err(DataError::ClassNames { expected: 10, found: 2, .. })));
    fs::write(&names, [b'a', 0xe9]).unwrap();
    let message = open().err().unwrap().to_string();
    assert!(message.contains("batches.meta.txt:1: text that is not UTF-8 (byte 0xe9)"), "{message}");
    // Byte-order marks and line ends of Windows, in UTF-8 and UTF-16.
    let text = "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nj \r\n";
    let wide: Vec<u8> =
        "\u{feff}".chars().chain(text.chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    for bytes in [format!("\u{feff}{text}").into_bytes(), wide] {
        fs::write(&names, bytes).unwrap();
        let set = open().unwrap();
        assert_eq!((set.classes()[0].as_str(), set.classes()[9].as_str()), ("a", "j"));
    }
}

#[test]
fn damage_is_named() {
    let dir = tempdir().unwrap();
    let folder = cifar10_tree(dir.path());
    let third = folder.join("data_batch_3.bin");
    let failure = || open("cifar10", Part::Train, &OpenOptions::dir(dir.path())).err().unwrap().to_string();
    let good = cifar_records(&[&[0], &[1]]);
    let table: [(Option<&[u8]>, &str); 4] = [
        (
            Some(&good[..good.len() - 1]),
            "6145 bytes is not a whole number of 3073-byte records: record 1, at offset 3073",
        ),
        (Some(&[]), "no images: the file is empty"),
        (
            Some(&cifar_records(&[&[0], &[10]])),
            "record 1, offset 3073: label 10 is not below the class count 10",
        ),
        (None, "data_batch_3.bin not found"),
    ];
    for (bytes, expected) in table {
        match bytes {
            Some(bytes) => fs::write(&third, bytes).unwrap(),
            None => fs::remove_file(&third).unwrap(),
        }
        let message = failure();
        assert!(message.contains(expected) && message.contains("data_batch_3.bin"), "{message}");
    }
    assert!(failure().contains("cifar-10-binary.tar.gz"));
}

#[test]
fn both_labels_of_cifar100_are_checked() {
    let dir = tempdir().unwrap();
    let file = cifar100_tree(dir.path()).join("train.bin");
    for (records, expected) in [
        ([[0, 0], [20, 5]], "record 1, offset 3074: label 20 is not below the class count 20"),
        ([[0, 0], [19, 100]], "record 1, offset 3075: label 100 is not below the class count 100"),
    ] {
        fs::write(&file, cifar_records(&[&records[0], &records[1]])).unwrap();
        let message = open("cifar100", Part::Train, &OpenOptions::dir(dir.path())).err().unwrap().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
}
