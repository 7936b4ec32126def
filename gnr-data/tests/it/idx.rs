//! IDX: the published layout is read, and everything else is an error that names the place.

use std::fs;
use std::path::{Path, PathBuf};

use gnr_data::{DataError, OpenOptions, Part, open, read_idx};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::trees::{gzip, idx, mnist_tree};

fn read(bytes: &[u8], rank: u8) -> Result<gnr_data::IdxArray, DataError> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file-ubyte");
    fs::write(&path, bytes).unwrap();
    read_idx(&path, rank)
}

#[test]
fn plain_and_gzipped_files_are_the_same() {
    let values: Vec<u8> = (0..24).collect();
    let bytes = idx(&[2, 3, 4], &values);
    for form in [bytes.clone(), gzip(&bytes)] {
        let array = read(&form, 3).unwrap();
        assert_eq!((array.dims, array.values), (vec![2, 3, 4], values.clone()));
    }
}

/// Every kind of damage, plain and (where it makes sense) gzipped, with words that the message must contain.
#[test]
fn damage_is_named() {
    let good = idx(&[2, 3, 4], &[7; 24]);
    let table: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["no images: the file is empty"]),
        ("half a magic number", good[..3].to_vec(), &["magic number", "offset 3"]),
        (
            "half a header",
            good[..9].to_vec(),
            &["truncated: expected dimensions up to offset 16", "offset 9"],
        ),
        (
            "one value short",
            good[..39].to_vec(),
            &["array of dimensions [2, 3, 4] up to offset 40", "offset 39"],
        ),
        ("trailing byte", [&good[..], &[0]].concat(), &["unexpected bytes after offset 40"]),
        (
            "labels for images",
            idx(&[24], &[7; 24]),
            &["wrong magic number", "[00, 00, 08, 03]", "[00, 00, 08, 01]"],
        ),
        ("floats", [&[0, 0, 0x0d, 3], &good[4..]].concat(), &["wrong magic number", "[00, 00, 0d, 03]"]),
        ("overflow", idx(&[u32::MAX; 3], &[]), &["impossible dimensions", "4294967295", "offset 4"]),
        ("a lie", idx(&[u32::MAX, 1, 1], &[1, 2]), &["up to offset 4294967311", "offset 18"]),
    ];
    for (name, bytes, expected) in table {
        for (form, bytes) in [("plain", bytes.clone()), ("gzip", gzip(&bytes))] {
            let message = read(&bytes, 3).unwrap_err().to_string();
            for part in expected.iter().chain(&["file-ubyte"]) {
                assert!(message.contains(part), "{name}, {form}: `{message}` lacks `{part}`");
            }
        }
    }
}

#[test]
fn damaged_gzip_is_named() {
    let packed = gzip(&idx(&[300, 10, 10], &(0..30_000).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
    let mut checksum = packed.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    let twice = [&packed[..], &packed[..]].concat();
    assert!(
        matches!(read(&packed[..packed.len() / 2], 3), Err(DataError::Gzip { offset, .. }) if offset > 16)
    );
    assert!(matches!(read(&packed[..packed.len() - 4], 3), Err(DataError::Gzip { .. })));
    assert!(matches!(read(&checksum, 3), Err(DataError::Gzip { offset: 30_016, .. })));
    assert!(matches!(read(&twice, 3), Err(DataError::TrailingBytes { offset: 30_016, .. })));
    assert!(read(&packed, 3).is_ok());
}

#[test]
fn missing_files_say_how_to_get_them() {
    let error = read_idx(Path::new("/nowhere/at/all"), 1).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at/all: cannot open: No such file"), "{error}");
    let dir = tempdir().unwrap();
    let error = open("mnist", Part::Test, &OpenOptions::dir(dir.path())).err().unwrap();
    assert!(matches!(&error, DataError::MissingData { what, .. } if what == "t10k-images-idx3-ubyte"));
    assert!(error.to_string().contains("gnr data fetch mnist"), "{error}");
    let error = open("mnist", Part::Train, &OpenOptions::default()).err().unwrap().to_string();
    assert!(error.contains("none was given"), "{error}");
}

#[test]
fn trees_of_the_mnist_family_open() {
    for (name, below) in [("mnist", ""), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")] {
        for zipped in [false, true] {
            let dir = tempdir().unwrap();
            let files: PathBuf = dir.path().join(below);
            fs::create_dir_all(&files).unwrap();
            mnist_tree(&files, [12, 3], zipped);
            let train = open(name, Part::Train, &OpenOptions::dir(dir.path())).unwrap();
            let test = open(name, Part::Test, &OpenOptions::dir(dir.path())).unwrap();
            assert_eq!((train.len(), test.len(), train.shape()), (12, 3, [1, 2, 3]));
            assert_eq!(train.image(11).unwrap().pixels[..], [66, 67, 68, 69, 70, 71]);
            assert_eq!(train.label(11).unwrap(), 1);
            assert!(matches!(train.image(12), Err(DataError::IndexOutOfRange { index: 12, len: 12 })));
        }
    }
}

#[test]
fn labels_must_fit_the_images_and_the_classes() {
    let dir = tempdir().unwrap();
    mnist_tree(dir.path(), [12, 3], false);
    let labels = dir.path().join("train-labels-idx1-ubyte");
    let train = || open("mnist", Part::Train, &OpenOptions::dir(dir.path())).err().unwrap();
    fs::write(&labels, idx(&[11], &[0; 11])).unwrap();
    assert!(matches!(train(), DataError::CountMismatch { images: 12, labels: 11, .. }));
    let mut values = [0; 12];
    values[5] = 10;
    fs::write(&labels, idx(&[12], &values)).unwrap();
    let message = train().to_string();
    assert!(message.ends_with("record 5, offset 13: label 10 is not below the class count 10"), "{message}");
    fs::write(dir.path().join("train-images-idx3-ubyte"), idx(&[0, 2, 3], &[])).unwrap();
    fs::write(&labels, idx(&[0], &[])).unwrap();
    assert!(matches!(train(), DataError::NoImages { .. }));
}

#[test]
fn a_zero_dimension_is_empty_wherever_it_stands() {
    for dims in [[0, u32::MAX, u32::MAX, 3], [u32::MAX, u32::MAX, 3, 0]] {
        assert!(read(&idx(&dims, &[]), 4).unwrap().values.is_empty(), "{dims:?}");
        assert!(read(&idx(&dims, &[1]), 4).is_err(), "{dims:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), rank in 0u8..5) {
        let _ = read(&bytes, rank);
        let _ = read(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat(), rank);
    }

    #[test]
    fn a_random_header_is_read_or_refused(
        dims in prop::collection::vec(prop_oneof![0u32..6, any::<u32>()], 0..5),
        length in 0usize..200,
    ) {
        let product: u128 = dims.iter().map(|&dim| u128::from(dim)).product();
        let result = read(&idx(&dims, &vec![1; length]), dims.len() as u8);
        prop_assert_eq!(result.is_ok(), product == length as u128);
    }

    #[test]
    fn any_cut_is_noticed(cut in 0usize..39, zipped: bool) {
        let good = idx(&[2, 3, 4], &[7; 24]);
        let bytes = if zipped { gzip(&good) } else { good };
        prop_assert!(read(&bytes[..cut.min(bytes.len() - 1)], 3).is_err());
    }
}
