//! The data sets by name: the one list that `gnr data` prints and recipes refer to.
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

/// Where and how to open a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// Folder of the files. Default: none (`digits` is embedded, `fashion-mnist` may be installed by the system).
    pub dir: Option<PathBuf>,
    /// Brings every image to one size. Default: no change; mixed sizes are an error.
    pub resize: Option<Resize>,
    /// For image folders: in memory or decoded on demand. Default: by size.
    pub keep: Keep,
    /// Whether anything that [`Dataset::warnings`] would tell is an error instead. Default: no.
    pub strict: bool,
}

impl OpenOptions {
    /// Files in `dir`, everything else as by default.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()), ..Self::default() }
    }
}

type Opener = fn(&OpenOptions, Part) -> Result<Arc<dyn Dataset>>;

/// What is known about a data set before it is opened.
#[derive(Clone)]
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
    /// The layouts of files that are read, in a sentence or two.
    pub layouts: &'static str,
    /// Licence, where known.
    pub licence: &'static str,
    /// Augmentation usual for it.
    pub augmentation: Augmentation,
    /// The published files, for `gnr data fetch`.
    pub downloads: &'static [Download],
    /// Name of that normalisation among the presets.
    pub preset: &'static str,
    pub(crate) normalization: fn() -> Normalization,
    pub(crate) opener: Opener,
}

impl DatasetInfo {
    /// Normalisation usual for it.
    pub fn normalization(&self) -> Normalization {
        (self.normalization)()
    }

    /// The data set with other files to fetch, e.g. of a mirror with other archives.
    pub fn with_downloads(&self, downloads: &'static [Download]) -> Self {
        Self { downloads, ..self.clone() }
    }

    /// Opens one part.
    ///
    /// # Errors
    /// [`DataError::MissingData`] with [`DatasetInfo::fetch_hint`] when the files are not there, and everything that
    /// can be wrong with them, naming the file. [`DataError::Strict`] if there are warnings and `options.strict`
    /// forbids them.
    pub fn open(&self, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
        let set = (self.opener)(options, part)?;
        let warnings = if options.strict { set.warnings() } else { Vec::new() };
        if !warnings.is_empty() {
            return Err(DataError::Strict { warnings });
        }
        Ok(match options.resize {
            // Sets of files have done it while decoding.
            Some(resize) if self.shape.is_some() => Arc::new(Resized::new(set, resize)?),
            _ => set,
        })
    }
}

/// A file of a published data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// Where it is published; the later ones are tried when the first fails. None: it can only be had by hand.
    pub urls: &'static [&'static str],
    /// Its name in the data folder.
    pub file: &'static str,
    /// MD5 of the file, hexadecimal, as its publishers or torchvision state it.
    pub md5: &'static str,
    /// What to do with it.
    pub unpack: Unpack,
    /// Bound on its size in bytes, unpacked and as it is.
    pub limit: u64,
}

/// What becomes of a downloaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// The file is read as it is.
    Keep,
    /// A tar archive, gzipped or not, unpacked into a folder below the data folder.
    Tar {
        /// That folder; empty: the data folder.
        into: &'static str,
    },
    /// A tar archive of tar archives, each unpacked into a folder of its own name.
    TarOfTars {
        /// The folder around them.
        into: &'static str,
    },
    /// A zip archive.
    Zip {
        /// The folder; empty: the data folder.
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

/// All data sets.
pub fn registry() -> &'static [DatasetInfo] {
    REGISTRY
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
        // Comparing a megabyte with each of them would take long.
        let start: String = name.to_lowercase().chars().take(60).collect();
        let score = |info: &&DatasetInfo| strsim::jaro_winkler(info.name, &start);
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
/// The errors of [`find`] and [`DatasetInfo::open`].
pub fn open(name: &str, part: Part, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
    find(name)?.open(part, options)
}

/// Whether `name` can be opened without giving a folder on this machine.
///
/// # Errors
/// [`DataError::UnknownDataset`].
pub fn available_without_dir(name: &str) -> Result<bool> {
    Ok(match find(name)?.name {
        "digits" => true,
        "fashion-mnist" => Path::new(mnist::INSTALLED_FASHION_MNIST).is_dir(),
        _ => false,
    })
}
