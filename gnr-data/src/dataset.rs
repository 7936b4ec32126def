//! Data sets: labelled 8-bit images of one shape, in memory or decoded on demand.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::error::{DataError, Result};

/// An image in planes: pixel `(c, y, x)` is `pixels[(c * height + y) * width + x]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// Number of channels: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// The bytes `[C, H, W]`, borrowed where the data set keeps its images in memory.
    pub pixels: Cow<'a, [u8]>,
}

impl Image<'_> {
    /// The shape `[C, H, W]` of the image.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Fails unless the pixels fit the shape and no side is 0.
    pub(crate) fn check(&self) -> Result<()> {
        let expected = self.shape().iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if expected != Some(self.pixels.len()) || expected == Some(0) {
            return Err(DataError::BufferLength {
                what: "image",
                shape: self.shape().to_vec(),
                expected: expected.unwrap_or(usize::MAX),
                found: self.pixels.len(),
            });
        }
        Ok(())
    }
}

/// A data set of labelled images of one shape.
///
/// The loader's worker threads share it, hence `Send + Sync`. `image` may decode a file; everything else should be
/// cheap.
pub trait Dataset: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape `[C, H, W]` of every image.
    fn shape(&self) -> [usize; 3];

    /// The names of the classes, by label.
    fn classes(&self) -> &[String];

    /// Image number `index`, in the shape of the data set.
    ///
    /// # Errors
    /// [`DataError::IndexOutOfRange`], and any error of decoding a file.
    fn image(&self, index: usize) -> Result<Image<'_>>;

    /// Image number `index` in its published size, where `image` scales it to [`shape`](Self::shape).
    ///
    /// Random resized crops are cut from this image. Default: `image(index)`.
    ///
    /// # Errors
    /// The errors of [`image`](Self::image).
    fn original(&self, index: usize) -> Result<Image<'_>> {
        self.image(index)
    }

    /// The label of image `index`, below `self.classes().len()`.
    ///
    /// # Errors
    /// [`DataError::IndexOutOfRange`].
    fn label(&self, index: usize) -> Result<usize>;

    /// The published label of image `index`, where `label` may be wrong on purpose ([`Noisy`](crate::Noisy)). Default:
    /// `label(index)`.
    ///
    /// Parts of a data set are chosen by clean labels, so that noise does not change them. A data set that wraps
    /// another one must forward this method.
    ///
    /// # Errors
    /// The errors of [`label`](Self::label).
    fn clean_label(&self, index: usize) -> Result<usize> {
        self.label(index)
    }

    /// A line for logs: what the data set is, how many images it has and where they come from.
    fn describe(&self) -> String;

    /// Warnings that a user should read before training, one a line: files that were left out, images of a single
    /// colour, names that are easily confused. A data set that wraps another one must forward them. Default: none.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The number of images of each class, in class order.
///
/// # Errors
/// The errors of [`Dataset::label`].
pub fn class_counts(dataset: &dyn Dataset) -> Result<Vec<usize>> {
    let mut counts = vec![0; dataset.classes().len()];
    for index in 0..dataset.len() {
        let label = dataset.label(index)?;
        match counts.get_mut(label) {
            Some(count) => *count += 1,
            None => return Err(DataError::BatchLabel { sample: index, label, classes: counts.len() }),
        }
    }
    Ok(counts)
}

/// A data set held in memory in one buffer of bytes.
#[derive(Debug, Clone)]
pub struct InMemory {
    name: String,
    shape: [usize; 3],
    classes: Vec<String>,
    pixels: Vec<u8>,
    labels: Vec<usize>,
    warnings: Vec<String>,
}

impl InMemory {
    /// A data set of `pixels` `[N, C, H, W]` and `labels` `[N]`. [`Dataset::describe`] starts with `name`.
    ///
    /// # Errors
    /// [`DataError::BufferLength`] when `pixels` is not `N·C·H·W` long, [`DataError::BatchLabel`] for a label that is
    /// not below `classes.len()`, [`DataError::NoImages`] when there is no image.
    ///
    /// ```
    /// use gnr_data::{Dataset, InMemory};
    /// let names = vec!["dark".to_string(), "light".to_string()];
    /// let set = InMemory::new("two pixels", [1, 1, 1], names, vec![0, 255], vec![0, 1])?;
    /// assert_eq!(set.image(1)?.pixels[0], 255);
    /// # Ok::<(), gnr_data::DataError>(())
    /// ```
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        classes: Vec<String>,
        pixels: Vec<u8>,
        labels: Vec<usize>,
    ) -> Result<Self> {
        let name = name.into();
        let full = [labels.len(), shape[0], shape[1], shape[2]];
        let expected = full.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if expected != Some(pixels.len()) {
            return Err(DataError::BufferLength {
                what: "pixels",
                shape: full.to_vec(),
                expected: expected.unwrap_or(usize::MAX),
                found: pixels.len(),
            });
        }
        if pixels.is_empty() {
            return Err(DataError::NoImages {
                path: PathBuf::from(name),
                reason: format!("shape {full:?} is empty"),
            });
        }
        if let Some((sample, &label)) = labels.iter().enumerate().find(|&(_, &label)| label >= classes.len())
        {
            return Err(DataError::BatchLabel { sample, label, classes: classes.len() });
        }
        Ok(Self { name, shape, classes, pixels, labels, warnings: Vec::new() })
    }

    /// Adds warnings, and one more if there are images of a single colour; `place` names an image by its index.
    pub(crate) fn warned(mut self, mut warnings: Vec<String>, place: impl Fn(usize) -> String) -> Self {
        let size = self.pixels.len() / self.labels.len().max(1);
        let plane = (self.shape[1] * self.shape[2]).max(1);
        let constant = |image: &[u8]| {
            image.chunks_exact(plane).all(|plane| plane.iter().all(|&pixel| pixel == plane[0]))
        };
        let mut blank =
            self.pixels.chunks_exact(size.max(1)).enumerate().filter(|(_, image)| constant(image));
        // An image of one pixel is always constant.
        if size > self.shape[0]
            && let Some((first, image)) = blank.next()
        {
            let colour: Vec<u8> = image.iter().step_by(plane).copied().collect();
            let (count, of) = (1 + blank.count(), self.labels.len());
            warnings.push(format!(
                "{count} of {of} images are blank (one colour in all pixels); the first is {}, with colour {colour:?}",
                place(first)
            ));
        }
        self.warnings = warnings;
        self
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        if index >= self.len() {
            return Err(DataError::IndexOutOfRange { index, len: self.len() });
        }
        let [channels, height, width] = self.shape;
        let size = channels * height * width;
        let pixels = Cow::Borrowed(&self.pixels[index * size..(index + 1) * size]);
        Ok(Image { channels, height, width, pixels })
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.labels.get(index).copied().ok_or(DataError::IndexOutOfRange { index, len: self.len() })
    }

    fn describe(&self) -> String {
        describe(&self.name, self)
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// Whether the label of each image differs from the published one; `None` when no label does.
///
/// # Errors
/// The errors of [`Dataset::label`].
pub fn flipped_labels(dataset: &dyn Dataset) -> Result<Option<Vec<bool>>> {
    let flipped = (0..dataset.len())
        .map(|index| Ok(dataset.label(index)? != dataset.clean_label(index)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(flipped.contains(&true).then_some(flipped))
}

/// The usual form of [`Dataset::describe`]: `name: 1437 images 1x8x8, 10 classes`, and how many labels are wrong if any
/// is.
pub(crate) fn describe(name: &str, dataset: &dyn Dataset) -> String {
    let [channels, height, width] = dataset.shape();
    let (len, classes) = (dataset.len(), dataset.classes().len());
    // A data set whose labels cannot be read reports that elsewhere.
    let flipped = flipped_labels(dataset).ok().flatten();
    let flipped = flipped.map_or(0, |flipped| flipped.iter().filter(|flipped| **flipped).count());
    let noise = if flipped > 0 { format!(", {flipped} of {len} labels flipped") } else { String::new() };
    format!("{name}: {len} images {channels}x{height}x{width}, {classes} classes{noise}")
}
