//! EMNIST: handwritten letters and digits in six arrangements, in MNIST's format.
//!
//! Layout: `emnist-NAME-{train,test}-{images-idx3,labels-idx1}-ubyte[.gz]`, as unpacked from `gzip.zip`, as torchvision
//! keeps them or as Kaggle does (`emnist_source_files`); otherwise as for MNIST. The files store pixels column by
//! column; the images are turned upright here. Letters are numbered from 1.

use super::mnist::{DIGITS, Family, open};
use crate::augment::Augmentation;
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, Unpack};

#[rustfmt::skip]
const ALL: &[&str] = &[
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z",
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z",
];

/// Letters whose two cases look alike are one class.
#[rustfmt::skip]
const MERGED: &[&str] = &[
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z",
    "a", "b", "d", "e", "f", "g", "h", "n", "q", "r", "t",
];

#[rustfmt::skip]
const LETTERS_NAMES: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z",
];

const HINT: &str = "gnr data fetch NAME --data-dir DIR (all six arrangements are one archive, 560 MB), or unpack \
                    https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip into DIR; then give DIR";

const LAYOUTS: &str = "emnist-SET-{train,test}-{images-idx3,labels-idx1}-ubyte, gzipped or not; in the given folder, its gzip, emnist_source_files \
                       or EMNIST/raw, or one folder deeper; spelt and nested as mnist may be";

const DOWNLOADS: &[Download] = &[Download {
    urls: &["https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"],
    file: "gzip.zip",
    md5: "58c8d27c78d21e728a6bc7b3cc06412e",
    unpack: Unpack::Zip { into: "" },
    limit: 2 << 30,
}];

macro_rules! arrangement {
    ($info:ident, $name:literal, $summary:literal, $classes:expr, $first:literal, [$train:literal, $test:literal]) => {
        pub(crate) const $info: DatasetInfo = {
            const FAMILY: Family = Family {
                name: concat!("emnist-", $name),
                classes: $classes,
                below: &["", "gzip", "emnist_source_files", "EMNIST/raw", "EMNIST/raw/gzip"],
                installed: None,
                stems: [concat!("emnist-", $name, "-train"), concat!("emnist-", $name, "-test")],
                first: $first,
                transposed: true,
                hint: HINT,
            };
            DatasetInfo {
                name: FAMILY.name,
                summary: $summary,
                shape: Some([1, 28, 28]),
                classes: Some(FAMILY.classes.len()),
                counts: Some([$train, $test]),
                fetch_hint: HINT,
                layouts: LAYOUTS,
                licence: "public domain (NIST Special Database 19), G. Cohen et al.",
                augmentation: Augmentation::NONE,
                preset: "emnist",
                normalization: Normalization::emnist,
                downloads: DOWNLOADS,
                opener: |options, part| open(&FAMILY, options, part),
            }
        };
    };
}

arrangement!(BALANCED, "balanced", "EMNIST, 47 balanced classes, grey 28x28", MERGED, 0, [112_800, 18_800]);
arrangement!(BYCLASS, "byclass", "EMNIST, 62 classes, grey 28x28", ALL, 0, [697_932, 116_323]);
arrangement!(BYMERGE, "bymerge", "EMNIST, 47 classes, grey 28x28", MERGED, 0, [697_932, 116_323]);
arrangement!(
    LETTERS,
    "letters",
    "EMNIST letters, 26 classes, grey 28x28",
    LETTERS_NAMES,
    1,
    [124_800, 20_800]
);
arrangement!(DIGITS_ONLY, "digits", "EMNIST digits, 10 classes, grey 28x28", DIGITS, 0, [240_000, 40_000]);
arrangement!(MNIST, "mnist", "MNIST as EMNIST converts it, grey 28x28", DIGITS, 0, [60_000, 10_000]);
