//! CIFAR-10 and CIFAR-100 in their published binary version.
//!
//! Layout (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of the label bytes (CIFAR-10: one; CIFAR-100: the
//! coarse one of 20, then the fine one of 100, which is used) followed by 3,072 pixels, red, green and blue planes of 32x32.

use std::path::{Path, PathBuf};

use super::read::Input;
use super::{Part, check_labels, locate};
use crate::dataset::InMemory;
use crate::error::{DataError, Result};

const PIXELS: usize = 3 * 32 * 32;

/// What distinguishes the two sets.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Folder that the published archive unpacks to.
    pub(crate) folder: &'static str,
    pub(crate) train: &'static [&'static str],
    pub(crate) test: &'static [&'static str],
    /// How many classes each label byte has; the last label is the one used.
    pub(crate) label_classes: &'static [usize],
    /// File with one class name a line.
    pub(crate) names_file: &'static str,
    /// The published names, used when that file is absent.
    pub(crate) names: &'static [&'static str],
    pub(crate) hint: &'static str,
}

/// Opens a part of the set in `dir` or in the folder of that name within it.
pub(crate) fn open(variant: &Variant, dir: Option<&Path>, part: Part) -> Result<InMemory> {
    let dirs: Vec<PathBuf> =
        dir.iter().flat_map(|dir| [dir.join(variant.folder), dir.to_path_buf()]).collect();
    let files = match part {
        Part::Train => variant.train,
        Part::Test => variant.test,
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let path = locate(&dirs, &[(*file).to_string()]).ok_or_else(|| DataError::MissingData {
            dataset: variant.name,
            what: (*file).to_string(),
            looked_in: dirs.clone(),
            hint: variant.hint,
        })?;
        read_records(variant, &path, &mut pixels, &mut labels)?;
    }
    let from = dir.unwrap_or(Path::new("")).display();
    let name = format!("{} {part} ({from})", variant.name);
    InMemory::new(name, [3, 32, 32], class_names(variant, &dirs)?, pixels, labels)
}

fn read_records(variant: &Variant, path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<usize>) -> Result<()> {
    let label_bytes = variant.label_classes.len();
    let record = label_bytes + PIXELS;
    let length = std::fs::metadata(path).map_err(DataError::io(path, "read the length of"))?.len();
    if length == 0 {
        let reason = format!("the file is empty, expected records of {record} bytes");
        return Err(DataError::NoImages { path: path.to_path_buf(), reason });
    }
    let index = length / record as u64;
    if length % record as u64 != 0 {
        let (path, offset) = (path.to_path_buf(), index * record as u64);
        return Err(DataError::PartialRecord { path, length, record, index, offset });
    }
    let bytes = Input::open(path)?.exactly(length, "records")?;
    for (position, &classes) in variant.label_classes.iter().enumerate() {
        let column: Vec<u8> = bytes.iter().skip(position).step_by(record).copied().collect();
        check_labels(path, &column, classes, |index| (index * record + position) as u64)?;
    }
    pixels.reserve_exact(bytes.len());
    for record in bytes.chunks_exact(record) {
        labels.push(record[label_bytes - 1].into());
        pixels.extend_from_slice(&record[label_bytes..]);
    }
    Ok(())
}

fn class_names(variant: &Variant, dirs: &[PathBuf]) -> Result<Vec<String>> {
    let expected = variant.names.len();
    let Some(path) = locate(dirs, &[variant.names_file.to_string()]) else {
        return Ok(variant.names.iter().map(|name| (*name).to_string()).collect());
    };
    let text = std::fs::read_to_string(&path).map_err(DataError::io(&path, "read"))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    match names.len() {
        found if found != expected => Err(DataError::ClassNames { path, expected, found }),
        _ => Ok(names),
    }
}

pub(crate) const CIFAR10: Variant = Variant {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    label_classes: &[10],
    names_file: "batches.meta.txt",
    names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    hint: "curl -LO https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && tar -xzf cifar-10-binary.tar.gz \
           (md5 c32a1d4ab5d03f1284b67883e8d87530), then give the folder that holds cifar-10-batches-bin",
};

pub(crate) const CIFAR100: Variant = Variant {
    name: "cifar100",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    label_classes: &[20, 100],
    names_file: "fine_label_names.txt",
    names: &CIFAR100_NAMES,
    hint: "curl -LO https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz && tar -xzf cifar-100-binary.tar.gz \
           (md5 03b5dce01913d631647c71ecec9e9cb8), then give the folder that holds cifar-100-binary",
};

#[rustfmt::skip]
const CIFAR100_NAMES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];
