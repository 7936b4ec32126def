//! Noisy labels: a data set with partly wrong training labels, by a seeded rule or from a published list.
//!
//! Methods for flat minima are often compared on training sets with wrong labels.

mod list;
#[cfg(feature = "testing")]
pub(crate) use list::parse as labels_of;
mod npy;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dataset::{Dataset, Image};
use crate::error::{DataError, Result};
use crate::random::{Purpose, Stream};

/// The wrong class that a flipped image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoiseKind {
    /// One of the *other* K − 1 classes, each with the same probability. The default.
    ///
    /// Some papers draw from all K classes, the true one included. With a rate r they change r·(K − 1)/K of the labels
    /// in expectation, which is the rate to set here.
    #[default]
    Symmetric,
    /// The next class: class c becomes c + 1, the last class becomes class 0.
    PairFlip,
}

impl fmt::Display for NoiseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symmetric => "symmetric",
            Self::PairFlip => "pairflip",
        })
    }
}

/// The origin of wrong labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelNoise {
    /// A share of the images, chosen by a seed, gets wrong labels.
    Rate {
        /// Share of the images whose label changes, in [0, 1). Exactly `(rate·n).round()` of n labels change.
        rate: f64,
        /// The wrong class of a flipped image.
        kind: NoiseKind,
        /// Seed of the choice of images, and of their wrong classes.
        seed: u64,
    },
    /// A published list with one label an image: text, or a NumPy array. See [`Noisy::new`].
    File(PathBuf),
}

/// A data set with noisy labels. [`label`](Dataset::label) is the label to train on,
/// [`clean_label`](Dataset::clean_label) the published one.
///
/// **Seeded noise.** Image i has a stream of random numbers of its own, addressed by (`seed`, i). Its first number
/// ranks the image among all n. The `(rate·n).round()` images of lowest rank are flipped; among equal ranks, lower
/// indices come first. The next number of the stream chooses the class.
///
/// A label is therefore a function of `seed`, i, n, the number of classes and the clean label. Neither the order of
/// reading nor the number of threads matters. A higher rate flips the images of a lower rate to equal classes, and more
/// images.
///
/// Wrap the *whole* training set, and take parts of the wrapped one. [`Subset`](crate::Subset), [`Views`](crate::Views)
/// and [`stratified_split`](crate::stratified_split) choose by clean labels, so the parts have the images that they
/// would have without noise.
///
/// # References
/// `symmetric` and `pairflip` are the transitions of Han et al., *Co-teaching: Robust Training of Deep Neural Networks
/// with Extremely Noisy Labels*, NeurIPS 2018.
///
/// # Deviation
/// The paper flips each label independently with probability `rate`. Here the number of flipped labels is exact.
///
/// ```
/// use std::sync::Arc;
/// use gnr_data::{Dataset, LabelNoise, NoiseKind, Noisy, Part, digits};
///
/// let noise = LabelNoise::Rate { rate: 0.4, kind: NoiseKind::PairFlip, seed: 0 };
/// let noisy = Noisy::new(Arc::new(digits(Part::Train)?), &noise)?;
/// assert_eq!(noisy.num_flipped(), 575); // of 1437
/// for index in 0..noisy.len() {
///     let next = usize::from(noisy.is_flipped(index)?);
///     assert_eq!(noisy.label(index)?, (noisy.clean_label(index)? + next) % 10);
/// }
/// # Ok::<(), gnr_data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Noisy {
    whole: Arc<dyn Dataset>,
    labels: Vec<usize>,
    flipped: usize,
    how: String,
}

impl Noisy {
    /// Gives the images of `whole` noisy labels.
    ///
    /// A list is a text file with one label (a whole number, from 0) a line; blank lines and everything after `#` are
    /// ignored. If its name ends in `.npy`, or it starts like such a file, it is a one-dimensional NumPy array of
    /// integers. It must have one label for each image of `whole`, in the order of `whole`.
    ///
    /// # Errors
    /// [`DataError::Config`] for a rate outside [0, 1) and for a data set of one class, whose labels cannot be wrong.
    /// [`DataError::ListLength`] for a list of another length, [`DataError::ListLabel`] for a label that is not a
    /// class. [`DataError::Io`], [`DataError::BadLine`], [`DataError::Malformed`], [`DataError::Truncated`] and
    /// [`DataError::TrailingBytes`] for a list that cannot be read.
    ///
    /// # Cost
    /// Memory of one label an image; for seeded noise, also O(n log n) time once.
    pub fn new(whole: Arc<dyn Dataset>, noise: &LabelNoise) -> Result<Self> {
        let clean = (0..whole.len()).map(|index| whole.clean_label(index)).collect::<Result<Vec<_>>>()?;
        let classes = whole.classes().len();
        let (labels, how) = match noise {
            LabelNoise::Rate { rate, kind, seed } => {
                (seeded(&clean, classes, *rate, *kind, *seed)?, format!("{kind}, rate {rate}, seed {seed}"))
            }
            LabelNoise::File(path) => {
                (list::read(path, clean.len(), classes)?, format!("labels of {}", path.display()))
            }
        };
        let flipped = labels.iter().zip(&clean).filter(|(label, clean)| label != clean).count();
        Ok(Self { whole, labels, flipped, how })
    }

    /// Number of images whose label differs from the published one.
    pub fn num_flipped(&self) -> usize {
        self.flipped
    }

    /// Whether the label of image `index` differs from the published one.
    ///
    /// # Errors
    /// [`DataError::IndexOutOfRange`].
    pub fn is_flipped(&self, index: usize) -> Result<bool> {
        Ok(self.label(index)? != self.clean_label(index)?)
    }
}

impl Dataset for Noisy {
    fn len(&self) -> usize {
        self.whole.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.whole.shape()
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        self.whole.image(index)
    }

    fn original(&self, index: usize) -> Result<Image<'_>> {
        self.whole.original(index)
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.labels.get(index).copied().ok_or(DataError::IndexOutOfRange { index, len: self.labels.len() })
    }

    fn clean_label(&self, index: usize) -> Result<usize> {
        self.whole.clean_label(index)
    }

    fn warnings(&self) -> Vec<String> {
        self.whole.warnings()
    }

    fn describe(&self) -> String {
        let (whole, len) = (self.whole.describe(), self.labels.len());
        format!("{whole}, {} of {len} labels flipped ({})", self.flipped, self.how)
    }
}

fn seeded(clean: &[usize], classes: usize, rate: f64, kind: NoiseKind, seed: u64) -> Result<Vec<usize>> {
    if !(0.0..1.0).contains(&rate) {
        return Err(DataError::config("label noise rate", rate, "must be in [0, 1)"));
    }
    if classes < 2 {
        let reason = format!("a label can only be wrong among 2 classes or more, the data set has {classes}");
        return Err(DataError::config("label noise rate", rate, reason));
    }
    let stream = |index: usize| Stream::at(seed, Purpose::LabelNoise, 0, index as u64);
    let mut ranks: Vec<(u64, usize)> =
        (0..clean.len()).map(|index| (stream(index).number(), index)).collect();
    ranks.sort_unstable();
    let count = (rate * clean.len() as f64).round() as usize;
    let mut labels = clean.to_vec();
    for &(_, index) in &ranks[..count] {
        let class = clean[index];
        labels[index] = match kind {
            NoiseKind::PairFlip => (class + 1) % classes,
            NoiseKind::Symmetric => {
                let mut stream = stream(index);
                stream.number(); // the rank
                let other = stream.below(classes - 1);
                if other < class { other } else { other + 1 }
            }
        };
    }
    Ok(labels)
}
