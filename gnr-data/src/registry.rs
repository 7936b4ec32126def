//! The list of data sets by name, which `gnr data` prints and to which recipes refer.
//!
//! Adding a data set is a file in `source/`, an entry here, and a line in the test matrix.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::resize::{Resize, Resized};
use crate::source::files::Keep;
use crate::source::{Part, cars, cifar, digits, emnist, folder, food101, imagenet, mnist, pets};

/// Options of opening a data set: where its files are and how to read them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// The folder of the files. Default: none (`digits` is embedded, the system may have `fashion-mnist`).
    pub dir: Option<PathBuf>,
    /// Scales every image to one size. Default: no change; images of several sizes are then an error.
    pub resize: Option<Resize>,
    /// Whether the images of files are kept in memory or decoded on demand. Default: by size.
    pub keep: Keep,
    /// Whether warnings of [`Dataset::warnings`] are errors. Default: no.
    pub strict: bool,
}

impl OpenOptions {
    /// Options with files in `dir`, and the defaults for the rest.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()), ..Self::default() }
    }
}

type Opener = fn(&OpenOptions, Part) -> Result<Arc<dyn Dataset>>;

/// The properties of a data set that are known before it is opened.
#[derive(Clone)]
pub struct DatasetInfo {
    /// The name in recipes.
    pub name: &'static str,
    /// A line that describes the data set.
    pub summary: &'static str,
    /// The shape `[C, H, W]`, where it is fixed.
    pub shape: Option<[usize; 3]>,
    /// Number of classes, where it is fixed.
    pub classes: Option<usize>,
    /// Published numbers of training and test images, where they are fixed.
    pub counts: Option<[usize; 2]>,
    /// Commands that fetch the data set, or the layout to arrange.
    pub fetch_hint: &'static str,
    /// The layouts of files that can be read, in a sentence or two.
    pub layouts: &'static str,
    /// The licence, where it is known.
    pub licence: &'static str,
    /// The usual augmentation of the data set.
    pub augmentation: Augmentation,
    /// The published files, which `gnr data fetch` downloads.
    pub downloads: &'static [Download],
    /// The name of the preset with the usual normalisation.
    pub preset: &'static str,
    pub(crate) normalization: fn() -> Normalization,
    pub(crate) opener: Opener,
}

impl DatasetInfo {
    /// The usual normalisation of the data set.
    pub fn normalization(&self) -> Normalization {
        (self.normalization)()
    }

    /// The data set with other files to fetch, e.g. from a mirror with other archives.
    pub fn with_downloads(&self, downloads: &'static [Download]) -> Self {
        Self { downloads, ..self.clone() }
    }

    /// Opens one part of the data set.
    ///
    /// # Errors
    /// [`DataError::MissingData`] with [`DatasetInfo::fetch_hint`] when the files are not there; any error of its
    /// files, which names the file. [`DataError::Strict`] if there are warnings and `options.strict` forbids them.
    pub fn open(&self, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
        let set = (self.opener)(options, part)?;
        let warnings = if options.strict { set.warnings() } else { Vec::new() };
        if !warnings.is_empty() {
            return Err(DataError::Strict { warnings });
        }
        Ok(match options.resize {
            // Sets of image files were resized while decoding.
            Some(resize) if self.shape.is_some() => Arc::new(Resized::new(set, resize)?),
            _ => set,
        })
    }
}

/// A file of a published data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// Addresses of the file; later ones are tried when the first fails. None: the file can only be obtained by hand.
    pub urls: &'static [&'static str],
    /// The file's name in the data folder.
    pub file: &'static str,
    /// MD5 of the file in hexadecimal, as its publishers or torchvision state it.
    pub md5: &'static str,
    /// The way to unpack the file.
    pub unpack: Unpack,
    /// The largest size of the file in bytes, packed and unpacked.
    pub limit: u64,
}

/// The way to unpack a downloaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// The file is read without unpacking.
    Keep,
    /// A tar archive, gzipped or not, unpacked into a folder below the data folder.
    Tar {
        /// The folder's name; empty for the data folder itself.
        into: &'static str,
    },
    /// A tar archive of tar archives, each unpacked into a folder of its own name.
    TarOfTars {
        /// The name of the folder that holds them.
        into: &'static str,
    },
    /// A zip archive, unpacked into a folder below the data folder.
    Zip {
        /// The folder's name; empty for the data folder itself.
        into: &'static str,
    },
}

static REGISTRY: &[DatasetInfo] = &[
    digits::INFO,
    mnist::MNIST,
    mnist::FASHION_MNIST,
    mnist::KMNIST,
    emnist::BALANCED,
    emnist::BYCLASS,
    emnist::BYMERGE,
    emnist::LETTERS,
    emnist::DIGITS_ONLY,
    emnist::MNIST,
    cifar::CIFAR10,
    cifar::CIFAR100,
    imagenet::INFO,
    cars::INFO,
    pets::INFO,
    food101::INFO,
    folder::INFO,
];

/// All registered data sets, in the order of listings.
pub fn registry() -> &'static [DatasetInfo] {
    REGISTRY
}

/// The data set called `name`.
///
/// # Errors
/// [`DataError::UnknownDataset`], which names the nearest known name.
///
/// ```
/// let error = gnr_data::find("fashion_mnist").err().unwrap();
/// assert!(error.to_string().contains("did you mean `fashion-mnist`?"));
/// ```
pub fn find(name: &str) -> Result<&'static DatasetInfo> {
    REGISTRY.iter().find(|info| info.name == name).ok_or_else(|| {
        // The similarity of a name of a megabyte would take long to compute.
        let start: String = name.to_lowercase().chars().take(60).collect();
        let score = |info: &&DatasetInfo| strsim::jaro_winkler(info.name, &start);
        let nearest = REGISTRY.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        DataError::UnknownDataset {
            name: name.to_string(),
            // Names less similar than this have little more than a letter in common.
            nearest: nearest.filter(|info| score(info) > 0.7).map(|info| info.name),
            known: REGISTRY.iter().map(|info| info.name).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Opens one part of the data set called `name`.
///
/// # Errors
/// The errors of [`find`] and [`DatasetInfo::open`].
pub fn open(name: &str, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
    find(name)?.open(part, options)
}

/// Whether `name` can be opened without giving a folder on this machine.
///
/// # Errors
/// [`DataError::UnknownDataset`] for a name that is not registered.
pub fn available_without_dir(name: &str) -> Result<bool> {
    Ok(match find(name)?.name {
        "digits" => true,
        "fashion-mnist" => Path::new(mnist::INSTALLED_FASHION_MNIST).is_dir(),
        _ => false,
    })
}
