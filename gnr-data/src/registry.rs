//! The data sets by name: the one list that `gnr data` prints and recipes refer to.
//!
//! Adding a data set is a file in `source/`, an entry here, and a line in the test matrix.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::resize::Resize;
use crate::source::cifar::{self, CIFAR10, CIFAR100};
use crate::source::files::Keep;
use crate::source::folder::{self, open_folder};
use crate::source::idx::{self, Family};
use crate::source::imagenet;
use crate::source::{Part, digits::digits};

/// Where and how to open a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// Folder of the files. Default: none (`digits` is embedded, `fashion-mnist` may be installed by the system).
    pub dir: Option<PathBuf>,
    /// For image folders: brings every image to one size. Default: no change, mixed sizes are an error.
    pub resize: Option<Resize>,
    /// For image folders: in memory or decoded on demand. Default: by size.
    pub keep: Keep,
}

impl OpenOptions {
    /// Files in `dir`, everything else as by default.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()), ..Self::default() }
    }
}

type Opener = fn(&OpenOptions, Part) -> Result<Arc<dyn Dataset>>;

/// What is known about a data set before it is opened.
pub struct DatasetInfo {
    /// The name that recipes use.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// `[C, H, W]`, where it is fixed.
    pub shape: Option<[usize; 3]>,
    /// Number of classes, where it is fixed.
    pub classes: Option<usize>,
    /// Published numbers of training and test images, where they are fixed.
    pub counts: Option<[usize; 2]>,
    /// How to get it: commands, or the layout to arrange.
    pub fetch_hint: &'static str,
    /// Licence, where known.
    pub licence: &'static str,
    /// Augmentation usual for it.
    pub augmentation: Augmentation,
    normalization: fn() -> Normalization,
    opener: Opener,
}

impl DatasetInfo {
    /// Normalisation usual for it.
    pub fn normalization(&self) -> Normalization {
        (self.normalization)()
    }

    /// Opens one part.
    ///
    /// # Errors
    /// [`DataError::MissingData`] with [`DatasetInfo::fetch_hint`] when the files are not there, and everything that can
    /// be wrong with them, naming the file.
    pub fn open(&self, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
        (self.opener)(options, part)
    }
}

static REGISTRY: [DatasetInfo; 7] = [
    DatasetInfo {
        name: "digits",
        summary: "UCI optical digits, grey 8x8, embedded in the program",
        shape: Some([1, 8, 8]),
        classes: Some(10),
        counts: Some([1437, 360]),
        fetch_hint: "nothing to do: it is part of the program",
        licence: "CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
        augmentation: Augmentation::NONE,
        normalization: Normalization::digits,
        opener: |_, part| Ok(Arc::new(digits(part)?)),
    },
    DatasetInfo {
        name: "mnist",
        summary: "MNIST handwritten digits, grey 28x28, IDX files",
        shape: Some([1, 28, 28]),
        classes: Some(10),
        counts: Some([60_000, 10_000]),
        fetch_hint: MNIST.hint,
        licence: "CC BY-SA 3.0, Y. LeCun and C. Cortes",
        augmentation: Augmentation::NONE,
        normalization: Normalization::mnist,
        opener: |options, part| Ok(Arc::new(idx::open(&MNIST, options.dir.as_deref(), part)?)),
    },
    DatasetInfo {
        name: "fashion-mnist",
        summary: "Fashion-MNIST articles of clothing, grey 28x28, IDX files",
        shape: Some([1, 28, 28]),
        classes: Some(10),
        counts: Some([60_000, 10_000]),
        fetch_hint: FASHION_MNIST.hint,
        licence: "MIT, Zalando SE",
        augmentation: Augmentation::NONE,
        normalization: Normalization::fashion_mnist,
        opener: |options, part| Ok(Arc::new(idx::open(&FASHION_MNIST, options.dir.as_deref(), part)?)),
    },
    DatasetInfo {
        name: "cifar10",
        summary: "CIFAR-10 photographs, RGB 32x32, binary version",
        shape: Some([3, 32, 32]),
        classes: Some(10),
        counts: Some([50_000, 10_000]),
        fetch_hint: CIFAR10.hint,
        licence: "unspecified, A. Krizhevsky (research use)",
        augmentation: Augmentation::CIFAR,
        normalization: Normalization::cifar10,
        opener: |options, part| Ok(Arc::new(cifar::open(&CIFAR10, options.dir.as_deref(), part)?)),
    },
    DatasetInfo {
        name: "cifar100",
        summary: "CIFAR-100 photographs (fine labels), RGB 32x32, binary version",
        shape: Some([3, 32, 32]),
        classes: Some(100),
        counts: Some([50_000, 10_000]),
        fetch_hint: CIFAR100.hint,
        licence: "unspecified, A. Krizhevsky (research use)",
        augmentation: Augmentation::CIFAR,
        normalization: Normalization::cifar100,
        opener: |options, part| Ok(Arc::new(cifar::open(&CIFAR100, options.dir.as_deref(), part)?)),
    },
    DatasetInfo {
        name: "imagenet",
        summary: "ImageNet (ILSVRC 2012) photographs, RGB of mixed sizes, train/WNID and val/WNID",
        shape: None,
        classes: Some(1000),
        counts: Some([1_281_167, 50_000]),
        fetch_hint: imagenet::HINT,
        licence: "ImageNet terms of access (non-commercial research and education)",
        augmentation: Augmentation::NONE,
        normalization: Normalization::imagenet,
        opener: |options, part| imagenet::open(options.dir.as_deref(), part, options.resize, options.keep),
    },
    DatasetInfo {
        name: "folder",
        summary: "your own image folder: {train,test|val}/CLASS/*.{jpg,jpeg,png}, RGB",
        shape: None,
        classes: None,
        counts: None,
        fetch_hint: folder::HINT,
        licence: "yours to know",
        augmentation: Augmentation::NONE,
        normalization: Normalization::imagenet,
        opener: |options, part| {
            let dir = options.dir.as_deref().ok_or_else(|| DataError::MissingData {
                dataset: "folder",
                what: "the folder".into(),
                looked_in: Vec::new(),
                hint: folder::HINT,
            })?;
            open_folder(dir, part, options.resize, options.keep)
        },
    },
];

/// All data sets.
pub fn registry() -> &'static [DatasetInfo] {
    &REGISTRY
}

/// The data set called `name`.
///
/// # Errors
/// [`DataError::UnknownDataset`] with the nearest known name.
///
/// ```
/// let error = gnr_data::find("fashion_mnist").err().unwrap();
/// assert!(error.to_string().contains("did you mean `fashion-mnist`?"));
/// ```
pub fn find(name: &str) -> Result<&'static DatasetInfo> {
    REGISTRY.iter().find(|info| info.name == name).ok_or_else(|| {
        let score = |info: &&DatasetInfo| strsim::jaro_winkler(info.name, &name.to_lowercase());
        let nearest = REGISTRY.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        DataError::UnknownDataset {
            name: name.to_string(),
            // Below this, two names have little more than a letter in common.
            nearest: nearest.filter(|info| score(info) > 0.7).map(|info| info.name),
            known: REGISTRY.iter().map(|info| info.name).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Opens one part of the data set called `name`.
///
/// # Errors
/// Those of [`find`] and [`DatasetInfo::open`].
pub fn open(name: &str, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
    find(name)?.open(part, options)
}

/// Where Debian's `dataset-fashion-mnist` puts its files.
const INSTALLED_FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

const MNIST: Family = Family {
    name: "mnist",
    classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    below: &["", "MNIST/raw", "raw"],
    installed: None,
    hint: "for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do \
           curl -LO https://ossci-datasets.s3.amazonaws.com/mnist/$f-ubyte.gz; done, then give that folder",
};

const FASHION_MNIST: Family = Family {
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
    hint: "apt install dataset-fashion-mnist (Debian, Ubuntu; found without giving a folder), or the four files of \
           https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion in a folder that you give",
};

/// Whether `name` can be opened without giving a folder on this machine.
///
/// # Errors
/// [`DataError::UnknownDataset`].
pub fn available_without_dir(name: &str) -> Result<bool> {
    Ok(match find(name)?.name {
        "digits" => true,
        "fashion-mnist" => Path::new(INSTALLED_FASHION_MNIST).is_dir(),
        _ => false,
    })
}
