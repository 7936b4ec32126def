//! MNIST and its family: IDX files of images and labels, `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`.
//!
//! Layout: the files are in the given folder, in `raw` or `MNIST/raw` as torchvision keeps them, or one folder deeper
//! unless its name is that of another member of the family. A dot may stand before `idx` (Kaggle), and a folder with
//! the file's name may hold the file.

use std::path::Path;
use std::sync::Arc;

use super::idx::read_idx;
use super::places::Places;
use super::{Part, check_labels};
use crate::augment::Augmentation;
use crate::dataset::{Dataset, InMemory};
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, OpenOptions, Unpack};

/// The layouts that all members of the family share.
pub(super) const LAYOUTS: &str = "{train,t10k}-{images-idx3,labels-idx1}-ubyte, gzipped (in any number of members) or not, also spelt `images.idx3` and in a folder of \
              the file's name, as Kaggle unpacks; in the given folder, its raw or SET/raw, or a folder that is not another set's";

/// The differences between the members of the family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) classes: &'static [&'static str],
    /// Folders below the given one to look in (torchvision keeps the files in `MNIST/raw`).
    pub(super) below: &'static [&'static str],
    /// The folder where a distribution's package installs the files; used when no folder is given.
    pub(super) installed: Option<&'static str>,
    /// The beginning of the file names of both parts.
    pub(super) stems: [&'static str; 2],
    /// The number that the files give the first class.
    pub(super) first: u8,
    /// Whether the files store pixels column by column.
    pub(super) transposed: bool,
    pub(super) hint: &'static str,
}

impl Family {
    /// Whether the files in a folder of this name may belong to this set: the members have equal file names.
    fn owns(&self, folder: &str) -> bool {
        let plain = |text: &str| -> String {
            text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
        };
        let (folder, own) = (plain(folder), plain(self.name.split("-mnist").next().unwrap_or_default()));
        let members = ["fashion", "kmnist", "kuzushiji", "emnist", "qmnist"];
        let own = if self.name.starts_with("emnist") { "emnist" } else { &own };
        match members.iter().find(|member| folder.contains(*member)) {
            Some(&member) => member == own || (member == "kuzushiji" && own == "kmnist"),
            None => {
                let general = [
                    "archive",
                    "data",
                    "dataset",
                    "datasets",
                    "download",
                    "downloads",
                    "files",
                    "input",
                    "raw",
                    "gzip",
                ];
                general.contains(&folder.as_str()) || (own == "mnist" && folder.contains("mnist"))
            }
        }
    }
}

pub(super) const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The folder of Debian's `dataset-fashion-mnist`.
pub(crate) const INSTALLED_FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

const MNIST_FAMILY: Family = Family {
    name: "mnist",
    classes: DIGITS,
    below: &["", "MNIST/raw", "raw"],
    installed: None,
    stems: ["train", "t10k"],
    first: 0,
    transposed: false,
    hint: "gnr data fetch mnist --data-dir DIR, or the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz of \
           https://ossci-datasets.s3.amazonaws.com/mnist in a folder that you give",
};

const FASHION_FAMILY: Family = Family {
    name: "fashion-mnist",
    classes: &[
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    below: &["", "FashionMNIST/raw", "raw"],
    installed: Some(INSTALLED_FASHION_MNIST),
    hint: "apt install dataset-fashion-mnist (Debian, Ubuntu; found without giving a folder), or gnr data fetch fashion-mnist \
           --data-dir DIR, or the four files of https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion in a \
           folder that you give",
    ..MNIST_FAMILY
};

const KMNIST_FAMILY: Family = Family {
    name: "kmnist",
    classes: &["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"],
    below: &["", "KMNIST/raw", "raw"],
    hint: "gnr data fetch kmnist --data-dir DIR, or the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz of \
           http://codh.rois.ac.jp/kmnist in a folder that you give",
    ..MNIST_FAMILY
};

pub(crate) const MNIST: DatasetInfo = DatasetInfo {
    name: MNIST_FAMILY.name,
    summary: "MNIST handwritten digits, grey 28x28, IDX files",
    shape: Some([1, 28, 28]),
    classes: Some(MNIST_FAMILY.classes.len()),
    counts: Some([60_000, 10_000]),
    fetch_hint: MNIST_FAMILY.hint,
    layouts: LAYOUTS,
    licence: "CC BY-SA 3.0, Y. LeCun and C. Cortes",
    augmentation: Augmentation::NONE,
    preset: "mnist",
    normalization: Normalization::mnist,
    downloads: &[
        Download {
            urls: &["https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz"],
            file: "train-images-idx3-ubyte.gz",
            md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz"],
            file: "train-labels-idx1-ubyte.gz",
            md5: "d53e105ee54ea40749a09fcbcd1e9432",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz"],
            file: "t10k-images-idx3-ubyte.gz",
            md5: "9fb629c4189551a2d022fa330f9573f3",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz"],
            file: "t10k-labels-idx1-ubyte.gz",
            md5: "ec29112dd5afa0611ce80d1b7f02629c",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
    ],
    opener: |options, part| open(&MNIST_FAMILY, options, part),
};

pub(crate) const FASHION_MNIST: DatasetInfo = DatasetInfo {
    name: FASHION_FAMILY.name,
    summary: "Fashion-MNIST articles of clothing, grey 28x28, IDX files",
    shape: Some([1, 28, 28]),
    classes: Some(FASHION_FAMILY.classes.len()),
    counts: Some([60_000, 10_000]),
    fetch_hint: FASHION_FAMILY.hint,
    layouts: LAYOUTS,
    licence: "MIT, Zalando SE",
    augmentation: Augmentation::NONE,
    preset: "fashion-mnist",
    normalization: Normalization::fashion_mnist,
    downloads: &[
        Download {
            urls: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz"],
            file: "train-images-idx3-ubyte.gz",
            md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz"],
            file: "train-labels-idx1-ubyte.gz",
            md5: "25c81989df183df01b3e8a0aad5dffbe",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz"],
            file: "t10k-images-idx3-ubyte.gz",
            md5: "bef4ecab320f06d8554ea6380940ec79",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"],
            file: "t10k-labels-idx1-ubyte.gz",
            md5: "bb300cfdad3c16e7a12a480ee83cd310",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
    ],
    opener: |options, part| open(&FASHION_FAMILY, options, part),
};

pub(crate) const KMNIST: DatasetInfo = DatasetInfo {
    name: KMNIST_FAMILY.name,
    summary: "Kuzushiji-MNIST cursive hiragana, grey 28x28, IDX files",
    shape: Some([1, 28, 28]),
    classes: Some(KMNIST_FAMILY.classes.len()),
    counts: Some([60_000, 10_000]),
    fetch_hint: KMNIST_FAMILY.hint,
    layouts: LAYOUTS,
    licence: "CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
    augmentation: Augmentation::NONE,
    preset: "kmnist",
    normalization: Normalization::kmnist,
    downloads: &[
        Download {
            urls: &["http://codh.rois.ac.jp/kmnist/dataset/kmnist/train-images-idx3-ubyte.gz"],
            file: "train-images-idx3-ubyte.gz",
            md5: "bdb82020997e1d708af4cf47b453dcf7",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://codh.rois.ac.jp/kmnist/dataset/kmnist/train-labels-idx1-ubyte.gz"],
            file: "train-labels-idx1-ubyte.gz",
            md5: "e144d726b3acfaa3e44228e80efcd344",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://codh.rois.ac.jp/kmnist/dataset/kmnist/t10k-images-idx3-ubyte.gz"],
            file: "t10k-images-idx3-ubyte.gz",
            md5: "5c965bf0a639b31b8f53240b1b52f4d7",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
        Download {
            urls: &["http://codh.rois.ac.jp/kmnist/dataset/kmnist/t10k-labels-idx1-ubyte.gz"],
            file: "t10k-labels-idx1-ubyte.gz",
            md5: "7320c461ea6c1c855c0b718fb2a4b134",
            unpack: Unpack::Keep,
            limit: 1 << 26,
        },
    ],
    opener: |options, part| open(&KMNIST_FAMILY, options, part),
};

/// Opens a part of a member, from `STEM-{images-idx3,labels-idx1}-ubyte[.gz]` (also spelt `images.idx3`).
pub(super) fn open(family: &Family, options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let places = match options.dir.as_deref() {
        Some(dir) => Places::new(family.name, family.hint, Some(dir), family.below, |name| family.owns(name)),
        None => Places::installed(family.name, family.hint, family.installed.as_slice()),
    };
    let stem = match part {
        Part::Train => family.stems[0],
        Part::Test => family.stems[1],
    };
    let find = |kind: &str, rank: u8| {
        places.file(&[
            format!("{stem}-{kind}-idx{rank}-ubyte"),
            format!("{stem}-{kind}-idx{rank}-ubyte.gz"),
            format!("{stem}-{kind}.idx{rank}-ubyte"),
            format!("{stem}-{kind}.idx{rank}-ubyte.gz"),
        ])
    };
    let (images_path, labels_path) = (find("images", 3)?, find("labels", 1)?);
    let (mut images, labels) = (read_idx(&images_path, 3)?, read_idx(&labels_path, 1)?);
    if images.dims[0] != labels.dims[0] {
        return Err(DataError::CountMismatch {
            images_from: images_path,
            images: images.dims[0],
            labels_from: labels_path,
            labels: labels.dims[0],
        });
    }
    if images.values.is_empty() {
        let reason = format!("the file declares dimensions {:?}", images.dims);
        return Err(DataError::NoImages { path: images_path, reason });
    }
    let labels = from_zero(&labels_path, labels.values, family.first)?;
    check_labels(&labels_path, &labels, family.classes.len(), |record| 8 + record as u64)?;
    let [_, mut height, mut width] = images.dims[..] else {
        return Err(DataError::NoImages { path: images_path, reason: "not a list of images".into() });
    };
    if family.transposed {
        images.values = transpose(&images.values, height, width);
        std::mem::swap(&mut height, &mut width);
    }
    let set = InMemory::new(
        format!("{} {part} ({})", family.name, images_path.display()),
        [1, height, width],
        family.classes.iter().map(|name| (*name).to_string()).collect(),
        images.values,
        labels.into_iter().map(usize::from).collect(),
    )?;
    Ok(Arc::new(set.warned(Vec::new(), |index| format!("image {index} of {}", images_path.display()))))
}

/// Subtracts `first` from labels, so that they count from 0.
fn from_zero(path: &Path, mut labels: Vec<u8>, first: u8) -> Result<Vec<u8>> {
    for (record, label) in labels.iter_mut().enumerate() {
        *label = label.checked_sub(first).ok_or_else(|| DataError::Malformed {
            path: path.to_path_buf(),
            format: "list of labels",
            offset: 8 + record as u64,
            reason: format!("label {label}, but the first class is {first}"),
        })?;
    }
    Ok(labels)
}

/// Transposes each image from `height` x `width` to `width` x `height`.
fn transpose(values: &[u8], height: usize, width: usize) -> Vec<u8> {
    let turned = |image: &[u8]| -> Vec<u8> {
        (0..width).flat_map(|x| (0..height).map(move |y| (y, x))).map(|(y, x)| image[y * width + x]).collect()
    };
    values.chunks_exact((height * width).max(1)).flat_map(turned).collect()
}
