//! Parts of a data set: stratified seeded splits, samples, and views that share the images.

use std::sync::Arc;

use crate::dataset::{Dataset, Image, describe};
use crate::error::{DataError, Result};
use crate::random::{Purpose, Stream};

/// The number of images to hold out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HoldOut {
    /// A fraction of all images in [0, 1), rounded to the nearest number of images.
    Fraction(f64),
    /// A number of images.
    Count(usize),
}

impl HoldOut {
    fn count(self, len: usize) -> Result<usize> {
        match self {
            Self::Fraction(fraction) if (0.0..1.0).contains(&fraction) => {
                Ok((fraction * len as f64).round() as usize)
            }
            Self::Fraction(fraction) => {
                Err(DataError::config("hold out", fraction, "a fraction must be in [0, 1)"))
            }
            Self::Count(count) if count <= len => Ok(count),
            Self::Count(count) => {
                Err(DataError::config("hold out", count, format!("the data set has only {len} images")))
            }
        }
    }
}

/// Splits the indices of `dataset` into those that are kept and those that are held out. Both lists are ascending;
/// together they have each index once.
///
/// The split is stratified. A class with `n_c` of the `n` images gives `k·n_c/n` of the `k` held out, rounded by
/// largest remainder (ties go to the lower class), so each class is within one image of its share. The images of a
/// class are chosen by a pure function of `seed`. Classes are those of the clean labels: noise changes no split.
///
/// # Errors
/// [`DataError::Config`] for a fraction outside [0, 1) or a count above the number of images.
pub fn stratified_split(dataset: &dyn Dataset, size: HoldOut, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    let count = size.count(dataset.len())?;
    let classes = by_class(dataset)?;
    let quotas = quotas(&sizes(&classes), count);
    let mut held = vec![false; dataset.len()];
    for (class, (mut members, quota)) in classes.into_iter().zip(quotas).enumerate() {
        Stream::at(seed, Purpose::Split, 0, class as u64).shuffle(&mut members);
        for &index in &members[..quota] {
            held[index] = true;
        }
    }
    Ok((0..dataset.len()).partition(|&index| !held[index]))
}

/// Shares `count` among classes in proportion to `counts`, by largest remainder; ties go to the lower class.
pub(crate) fn quotas(counts: &[usize], count: usize) -> Vec<usize> {
    let total: u128 = counts.iter().map(|&n| n as u128).sum::<u128>().max(1);
    let share = |n: usize| (n as u128 * count as u128 / total, n as u128 * count as u128 % total);
    let mut quotas: Vec<usize> = counts.iter().map(|&n| share(n).0 as usize).collect();
    let mut classes: Vec<usize> = (0..counts.len()).collect();
    classes.sort_by_key(|&class| std::cmp::Reverse(share(counts[class]).1)); // stable: ties to the lower class
    let missing = count.saturating_sub(quotas.iter().sum());
    for class in classes.into_iter().take(missing) {
        quotas[class] += 1;
    }
    quotas
}

/// The images of each class by clean labels: noise changes no part of a data set.
fn by_class(dataset: &dyn Dataset) -> Result<Vec<Vec<usize>>> {
    let mut members = vec![Vec::new(); dataset.classes().len()];
    for index in 0..dataset.len() {
        let label = dataset.clean_label(index)?;
        match members.get_mut(label) {
            Some(class) => class.push(index),
            None => return Err(DataError::BatchLabel { sample: index, label, classes: members.len() }),
        }
    }
    Ok(members)
}

fn sizes(classes: &[Vec<usize>]) -> Vec<usize> {
    classes.iter().map(Vec::len).collect()
}

/// Some images of a data set, which share its memory. The constructors choose by clean labels.
#[derive(Clone)]
pub struct Subset {
    whole: Arc<dyn Dataset>,
    indices: Vec<usize>,
    how: String,
}

impl Subset {
    /// The images `indices` of `whole`, in that order; indices may repeat. `how` is appended to the description.
    ///
    /// # Errors
    /// [`DataError::IndexOutOfRange`] for an index beyond the end of `whole`.
    pub fn new(whole: Arc<dyn Dataset>, indices: Vec<usize>, how: impl Into<String>) -> Result<Self> {
        let len = whole.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(DataError::IndexOutOfRange { index, len }),
            None => Ok(Self { whole, indices, how: how.into() }),
        }
    }

    /// The first `per_class` images of each class, in the order of `whole`.
    ///
    /// # Errors
    /// [`DataError::Config`] when a class has fewer images.
    pub fn first_per_class(whole: Arc<dyn Dataset>, per_class: usize) -> Result<Self> {
        let mut indices = Vec::new();
        for (class, members) in by_class(whole.as_ref())?.into_iter().enumerate() {
            if members.len() < per_class {
                let (name, found) = (&whole.classes()[class], members.len());
                let reason = format!("class `{name}` has only {found} images");
                return Err(DataError::config("images per class", per_class, reason));
            }
            indices.extend(&members[..per_class]);
        }
        indices.sort_unstable();
        Self::new(whole, indices, format!("first {per_class} of each class"))
    }

    /// A stratified sample of `count` images in the order of `whole`; a pure function of `seed`.
    ///
    /// # Errors
    /// [`DataError::Config`] when there are fewer images.
    pub fn sample(whole: Arc<dyn Dataset>, count: usize, seed: u64) -> Result<Self> {
        let count = HoldOut::Count(count).count(whole.len())?;
        let classes = by_class(whole.as_ref())?;
        let quotas = quotas(&sizes(&classes), count);
        let mut indices = Vec::with_capacity(count);
        for (class, (mut members, quota)) in classes.into_iter().zip(quotas).enumerate() {
            Stream::at(seed, Purpose::Sample, 0, class as u64).shuffle(&mut members);
            indices.extend(&members[..quota]);
        }
        indices.sort_unstable();
        Self::new(whole, indices, format!("sample of {count}, seed {seed}"))
    }

    /// Indices of the images in the whole data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn whole_index(&self, index: usize) -> Result<usize> {
        let len = self.indices.len();
        self.indices.get(index).copied().ok_or(DataError::IndexOutOfRange { index, len })
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.whole.shape()
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        self.whole.image(self.whole_index(index)?)
    }

    fn original(&self, index: usize) -> Result<Image<'_>> {
        self.whole.original(self.whole_index(index)?)
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.whole.label(self.whole_index(index)?)
    }

    fn clean_label(&self, index: usize) -> Result<usize> {
        self.whole.clean_label(self.whole_index(index)?)
    }

    fn warnings(&self) -> Vec<String> {
        self.whole.warnings()
    }

    fn describe(&self) -> String {
        describe(&format!("{} ({})", self.whole.describe(), self.how), self)
    }
}

/// The three parts of an experiment: hyper-parameters are chosen on `validation`, results are reported on `test`.
#[derive(Clone)]
pub struct Views {
    /// The images to which the parameters are fitted.
    pub train: Arc<dyn Dataset>,
    /// Images held out of the training images; `None` when none were.
    pub validation: Option<Arc<dyn Dataset>>,
    /// The published test images.
    pub test: Arc<dyn Dataset>,
}

impl Views {
    /// Holds `size` of `train` out for validation by [`stratified_split`]; none when `size` rounds to 0 images.
    ///
    /// # Errors
    /// The errors of [`stratified_split`]; [`DataError::Config`] when nothing would remain to train on.
    pub fn new(train: Arc<dyn Dataset>, test: Arc<dyn Dataset>, size: HoldOut, seed: u64) -> Result<Self> {
        let (kept, held) = stratified_split(train.as_ref(), size, seed)?;
        if kept.is_empty() {
            return Err(DataError::config("hold out", held.len(), "nothing would be left to train on"));
        }
        if held.is_empty() {
            return Ok(Self { train, validation: None, test });
        }
        let view = |indices, how: &str| -> Result<Arc<dyn Dataset>> {
            Ok(Arc::new(Subset::new(Arc::clone(&train), indices, format!("{how}, split seed {seed}"))?))
        };
        let (kept, held) = (view(kept, "training part")?, view(held, "validation part")?);
        Ok(Self { train: kept, validation: Some(held), test })
    }
}
