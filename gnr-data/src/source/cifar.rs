//! CIFAR-10 and CIFAR-100 in their published binary and Python versions.
//!
//! Binary version (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of label bytes, then 3,072 pixels in red,
//! green and blue planes of 32x32. CIFAR-10 has one label byte; CIFAR-100 has the coarse label of 20 classes, then the
//! fine one of 100, which is used.
//!
//! Python version: pickled dictionaries (protocols 0 to 5, keys as text or bytes). The pixels are a numpy array of
//! bytes `[N, 3072]`, `[N, 3, 32, 32]` or `[N, 32, 32, 3]`, the labels a list or array of Python's or numpy's integers.
//!
//! Layout: the files are in the folder that the archive unpacks to (such as `cifar-10-batches-bin`), in the given
//! folder or in one within it, or directly in either.

use std::path::Path;
use std::sync::Arc;

use super::fault::{Fault, Malformed};
use super::pickle::Batch;
use super::places::Places;
use super::read::Input;
use super::{Part, check_labels, read_text, read_whole};
use crate::augment::Augmentation;
use crate::dataset::{Dataset, InMemory};
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, OpenOptions, Unpack};

const PIXELS: usize = 3 * 32 * 32;

/// The properties in which CIFAR-10 and CIFAR-100 differ.
struct Variant {
    name: &'static str,
    binary: Binary,
    python: Python,
    /// The published names of the classes, used when their file is absent.
    names: &'static [&'static str],
    hint: &'static str,
}

struct Binary {
    /// The folder that the published archive unpacks to.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The number of classes of each label byte. The last label is the one used.
    label_classes: &'static [usize],
    /// The file with one class name a line.
    names_file: &'static str,
}

struct Python {
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The key of the labels in a batch.
    labels: &'static str,
    names_file: &'static str,
    /// The key of the names in that file.
    names: &'static str,
}

/// Opens a part of the set in `dir`, or in the folder of an archive within it. Where both versions are, it reads the
/// binary one.
fn open(variant: &Variant, options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let places = |folder: &'static str| {
        Places::new(variant.name, variant.hint, options.dir.as_deref(), &[folder, ""], |_| true)
    };
    let (binary_places, python_places) = (places(variant.binary.folder), places(variant.python.folder));
    let (binary, python) = match part {
        Part::Train => (variant.binary.train, variant.python.train),
        Part::Test => (variant.binary.test, variant.python.test),
    };
    let named = |file: &str| [file.to_string()];
    let is_python = binary_places.optional_file(&named(binary[0])).is_none()
        && python_places.optional_file(&named(python[0])).is_some();
    let (places, files) = if is_python { (python_places, python) } else { (binary_places, binary) };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let path = places.file(&named(file))?;
        match is_python {
            true => read_pickle(variant, &path, &mut pixels, &mut labels)?,
            false => read_records(&variant.binary, &path, &mut pixels, &mut labels)?,
        }
    }
    let classes = match is_python {
        true => pickled_names(variant, &places)?,
        false => class_names(variant, &places)?,
    };
    let from = options.dir.as_deref().unwrap_or(Path::new("")).display();
    let name = format!("{} {part} ({from})", variant.name);
    let set = InMemory::new(name, [3, 32, 32], classes, pixels, labels)?;
    Ok(Arc::new(set.warned(Vec::new(), |index| format!("image {index} of the part, counted from 0"))))
}

fn read_records(variant: &Binary, path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<usize>) -> Result<()> {
    let length = std::fs::metadata(path).map_err(DataError::io(path, "read the length of"))?.len();
    records(variant, (path, length), Input::open(path)?, pixels, labels)
}

/// The number of records of a file of this length, open as `input`.
fn records(
    variant: &Binary,
    (path, length): (&Path, u64),
    mut input: Input<'_>,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<usize>,
) -> Result<()> {
    let label_bytes = variant.label_classes.len();
    let record = label_bytes + PIXELS;
    if length == 0 {
        let reason = format!("the file is empty, expected records of {record} bytes");
        return Err(DataError::NoImages { path: path.to_path_buf(), reason });
    }
    let index = length / record as u64;
    if length % record as u64 != 0 {
        let (path, offset) = (path.to_path_buf(), index * record as u64);
        return Err(DataError::PartialRecord { path, length, record, index, offset });
    }
    let bytes = input.exactly(length, "records")?;
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

/// Checks that a binary file has whole records of either set with labels in range.
pub(crate) fn check_binary(path: &Path) -> Result<()> {
    let read = |variant: &Variant| read_records(&variant.binary, path, &mut Vec::new(), &mut Vec::new());
    // No published file has a length that fits both. The more demanding reading comes first.
    read(&CIFAR10_VARIANT).or_else(|error| read(&CIFAR100_VARIANT).map_err(|_| error))
}

/// Checks that a file is a pickle of one of the two sets.
pub(crate) fn check_pickle(path: &Path) -> Result<()> {
    let read = |variant: &Variant| read_pickle(variant, path, &mut Vec::new(), &mut Vec::new());
    read(&CIFAR10_VARIANT).or_else(|error| read(&CIFAR100_VARIANT).map_err(|_| error))
}

/// The readers of files, applied to contents instead of files.
#[cfg(feature = "testing")]
pub(crate) mod in_memory {
    use super::*;

    const VARIANTS: [&Variant; 2] = [&CIFAR10_VARIANT, &CIFAR100_VARIANT];

    pub(crate) fn binary(set: usize, path: &Path, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        let input = Input::bytes(path, bytes)?;
        records(&VARIANTS[set].binary, (path, length), input, &mut Vec::new(), &mut Vec::new())
    }

    pub(crate) fn pickle(set: usize, path: &Path, bytes: &[u8]) -> Result<()> {
        batch(VARIANTS[set], path, bytes, &mut Vec::new(), &mut Vec::new())
    }

    pub(crate) fn pickled_names(set: usize, path: &Path, bytes: &[u8]) -> Result<()> {
        meta(VARIANTS[set], path, bytes).map(drop)
    }

    pub(crate) fn names(set: usize, path: &Path, bytes: &[u8]) -> Result<()> {
        name_lines(VARIANTS[set], path, &super::super::text::text_of(path, bytes)?).map(drop)
    }
}

fn unknown(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::UnknownLayout { path: path.to_path_buf(), format: "pickle", reason: reason.into() }
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Batch<'a>> {
    Batch::parse(bytes).map_err(|error| error.into_error(path, "pickle"))
}

/// Reads a batch of the Python version, as published or as written again by a program.
fn read_pickle(variant: &Variant, path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<usize>) -> Result<()> {
    batch(variant, path, &read_whole(path)?, pixels, labels)
}

/// Reads the batch of a file with the contents `bytes`.
fn batch(
    variant: &Variant,
    path: &Path,
    bytes: &[u8],
    pixels: &mut Vec<u8>,
    labels: &mut Vec<usize>,
) -> Result<()> {
    let pickle = parse(path, bytes)?;
    let get = |key: &str| {
        let found = pickle.get(pickle.root(), key);
        found.ok_or_else(|| {
            let found = pickle.keys(pickle.root());
            unknown(path, format!("expected a dictionary with the keys `data` and `{key}`, found {found}"))
        })
    };
    let key = variant.python.labels;
    let (labels_id, data_id) = (get(key)?, get("data")?);
    let data = pickle.array(data_id).ok_or_else(|| unknown(path, "`data` is not a numpy array"))?;
    if data.kind != "u1" || data.fortran {
        let found = if data.fortran { "in Fortran order" } else { "" };
        let reason = format!("`data` is not a numpy array of bytes in C order but {} {found}", data.kind);
        return Err(unknown(path, reason.trim_end()));
    }
    let no_list = || unknown(path, format!("`{key}` is not a list of integers"));
    let found = pickle.count(labels_id).ok_or_else(no_list)?;
    let planar = match data.dims[..] {
        [count, PIXELS] | [count, 3, 32, 32] if count == found => true,
        [count, 32, 32, 3] if count == found => false,
        _ => {
            let reason = format!("{found} labels for images {:?}, expected [N, {PIXELS}]", data.dims);
            return Err(unknown(path, reason));
        }
    };
    if found == 0 {
        return Err(DataError::NoImages { path: path.to_path_buf(), reason: "the batch is empty".into() });
    }
    if found.checked_mul(PIXELS) != Some(data.data.len()) {
        let reason = format!("{} bytes of images {:?}", data.data.len(), data.dims);
        return Err(Malformed { offset: 0, reason, fault: Fault::Damaged }.into_error(path, "pickle"));
    }
    // The labels are decoded last: a list may be as long as the file.
    let found = pickle.integers(labels_id).ok_or_else(no_list)?;
    if found.len() * PIXELS != data.data.len() {
        let reason = format!("{} labels for images {:?}", found.len(), data.dims);
        return Err(Malformed { offset: 0, reason, fault: Fault::Damaged }.into_error(path, "pickle"));
    }
    labels.reserve(found.len());
    for (record, label) in found.into_iter().enumerate() {
        let classes = variant.names.len();
        match label.map(|label| (label, usize::try_from(label))) {
            Some((_, Ok(label))) if label < classes => labels.push(label),
            found => {
                let found = found.map_or("no integer".into(), |(label, _)| label.to_string());
                let reason =
                    format!("label of record {record}: expected a number below {classes}, found {found}");
                return Err(unknown(path, reason));
            }
        }
    }
    if planar {
        pixels.extend_from_slice(&data.data);
        return Ok(());
    }
    // The array is `[N, 32, 32, 3]`, the layout of programs that show images.
    for image in data.data.chunks_exact(PIXELS) {
        (0..3).for_each(|channel| pixels.extend(image.iter().skip(channel).step_by(3)));
    }
    Ok(())
}

fn pickled_names(variant: &Variant, places: &Places<'_>) -> Result<Vec<String>> {
    let Some(path) = places.optional_file(&[variant.python.names_file.to_string()]) else {
        return Ok(variant.names.iter().map(|name| (*name).to_string()).collect());
    };
    meta(variant, &path, &read_whole(&path)?)
}

/// Reads the class names of a pickle with the contents `bytes`.
fn meta(variant: &Variant, path: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let pickle = parse(path, bytes)?;
    let key = variant.python.names;
    let Some(names) = pickle.get(pickle.root(), key) else {
        let found = pickle.keys(pickle.root());
        return Err(unknown(path, format!("expected a dictionary with the key `{key}`, found {found}")));
    };
    let items =
        pickle.items(names).ok_or_else(|| unknown(path, format!("`{key}` is not a list of texts")))?;
    if items.len() != variant.names.len() {
        let (path, expected, found) = (path.to_path_buf(), variant.names.len(), items.len());
        return Err(DataError::ClassNames { path, expected, found });
    }
    let name = |&id| Some(String::from_utf8_lossy(&pickle.bytes(id)?).into_owned());
    let names: Option<Vec<String>> = items.iter().map(name).collect();
    names.ok_or_else(|| unknown(path, format!("`{key}` is not a list of texts")))
}

fn class_names(variant: &Variant, places: &Places<'_>) -> Result<Vec<String>> {
    let Some(path) = places.optional_file(&[variant.binary.names_file.to_string()]) else {
        return Ok(variant.names.iter().map(|name| (*name).to_string()).collect());
    };
    name_lines(variant, &path, &read_text(&path)?)
}

/// Reads the class names of a list with the text `text`.
fn name_lines(variant: &Variant, path: &Path, text: &str) -> Result<Vec<String>> {
    let names = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (names().count(), variant.names.len()) {
        (found, expected) if found != expected => {
            Err(DataError::ClassNames { path: path.to_path_buf(), expected, found })
        }
        _ => Ok(names().map(String::from).collect()),
    }
}

const CIFAR10_VARIANT: Variant = Variant {
    name: "cifar10",
    binary: Binary {
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
    },
    python: Python {
        folder: "cifar-10-batches-py",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: &["test_batch"],
        labels: "labels",
        names_file: "batches.meta",
        names: "label_names",
    },
    names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    hint: "gnr data fetch cifar10 --data-dir DIR, or curl -LO https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && \
           tar -xzf cifar-10-binary.tar.gz (md5 c32a1d4ab5d03f1284b67883e8d87530; cifar-10-python.tar.gz is fine too), then give \
           the folder that holds cifar-10-batches-bin",
};

pub(crate) const CIFAR10: DatasetInfo = DatasetInfo {
    name: CIFAR10_VARIANT.name,
    summary: "CIFAR-10 photographs, RGB 32x32, binary or Python version",
    shape: Some([3, 32, 32]),
    classes: Some(10),
    counts: Some([50_000, 10_000]),
    fetch_hint: CIFAR10_VARIANT.hint,
    layouts: "cifar-10-batches-bin/*.bin, or cifar-10-batches-py with pickles of any protocol (also written again by Python 3: text or bytes as keys, \
              labels as a list or array of integers, pixels [N, 3072], [N, 3, 32, 32] or [N, 32, 32, 3]); in the given folder, one deeper, or the \
              files themselves",
    licence: "unspecified, A. Krizhevsky (research use)",
    augmentation: Augmentation::CIFAR,
    preset: "cifar10",
    normalization: Normalization::cifar10,
    downloads: &[Download {
        urls: &["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
        file: "cifar-10-binary.tar.gz",
        md5: "c32a1d4ab5d03f1284b67883e8d87530",
        unpack: Unpack::Tar { into: "" },
        limit: 1 << 29,
    }],
    opener: |options, part| open(&CIFAR10_VARIANT, options, part),
};

const CIFAR100_VARIANT: Variant = Variant {
    name: "cifar100",
    binary: Binary {
        folder: "cifar-100-binary",
        train: &["train.bin"],
        test: &["test.bin"],
        label_classes: &[20, 100],
        names_file: "fine_label_names.txt",
    },
    python: Python {
        folder: "cifar-100-python",
        train: &["train"],
        test: &["test"],
        labels: "fine_labels",
        names_file: "meta",
        names: "fine_label_names",
    },
    names: &CIFAR100_NAMES,
    hint: "gnr data fetch cifar100 --data-dir DIR, or curl -LO https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz && \
           tar -xzf cifar-100-binary.tar.gz (md5 03b5dce01913d631647c71ecec9e9cb8; cifar-100-python.tar.gz is fine too), then give \
           the folder that holds cifar-100-binary",
};

pub(crate) const CIFAR100: DatasetInfo = DatasetInfo {
    name: CIFAR100_VARIANT.name,
    summary: "CIFAR-100 photographs (fine labels), RGB 32x32, binary or Python version",
    shape: Some([3, 32, 32]),
    classes: Some(100),
    counts: Some([50_000, 10_000]),
    fetch_hint: CIFAR100_VARIANT.hint,
    layouts: "cifar-100-binary/*.bin, or cifar-100-python with pickles as of cifar10; in the given folder, one deeper, or the files themselves",
    licence: "unspecified, A. Krizhevsky (research use)",
    augmentation: Augmentation::CIFAR,
    preset: "cifar100",
    normalization: Normalization::cifar100,
    downloads: &[Download {
        urls: &["https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"],
        file: "cifar-100-binary.tar.gz",
        md5: "03b5dce01913d631647c71ecec9e9cb8",
        unpack: Unpack::Tar { into: "" },
        limit: 1 << 29,
    }],
    opener: |options, part| open(&CIFAR100_VARIANT, options, part),
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
