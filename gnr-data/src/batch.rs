//! Mini-batches on the host: normalised pixels, labels, and the images that they come from.

use crate::augment::Mixed;
use crate::error::{DataError, Result};

/// A mini-batch, ready to be copied to whatever device the training uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[B, C, H, W]`, row-major.
    pub images: Vec<f32>,
    /// The label of each sample, `[B]`.
    pub labels: Vec<usize>,
    /// The shape of `images`, `[B, C, H, W]`.
    pub shape: [usize; 4],
    /// Index of each sample in the loader's data set, `[B]`.
    pub indices: Vec<usize>,
    /// Labels of the partners, when the batch was blended by mixup or CutMix.
    pub mixed: Option<Mixed>,
}

impl Batch {
    /// Makes a batch of the caller's own numbers and checks them, for data that do not come from a
    /// [`Loader`](crate::Loader). `indices` are `0..B`.
    ///
    /// # Errors
    /// [`DataError::BufferLength`] when `images` or `labels` do not fit `shape`, [`DataError::NonFinitePixel`] with the
    /// coordinates of the first NaN or infinity, [`DataError::BatchLabel`] for the first label not below `classes`.
    ///
    /// ```
    /// use gnr_data::{Batch, DataError};
    /// let error = Batch::from_f32(vec![0.0, f32::NAN], vec![0, 1], [2, 1, 1, 1], 10).unwrap_err();
    /// assert!(matches!(error, DataError::NonFinitePixel { sample: 1, .. }));
    /// ```
    pub fn from_f32(images: Vec<f32>, labels: Vec<usize>, shape: [usize; 4], classes: usize) -> Result<Self> {
        let expected = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if expected != Some(images.len()) {
            return Err(DataError::BufferLength {
                what: "images",
                shape: shape.to_vec(),
                expected: expected.unwrap_or(usize::MAX),
                found: images.len(),
            });
        }
        let [samples, _, height, width] = shape;
        if labels.len() != samples {
            return Err(DataError::BufferLength {
                what: "labels",
                shape: vec![samples],
                expected: samples,
                found: labels.len(),
            });
        }
        if let Some((position, &value)) = images.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let plane = height * width;
            return Err(DataError::NonFinitePixel {
                sample: position / (shape[1] * plane),
                channel: position / plane % shape[1],
                row: position / width % height,
                column: position % width,
                value,
            });
        }
        if let Some((sample, &label)) = labels.iter().enumerate().find(|&(_, &label)| label >= classes) {
            return Err(DataError::BatchLabel { sample, label, classes });
        }
        Ok(Self { images, labels, shape, indices: (0..samples).collect(), mixed: None })
    }

    /// The labels as distributions over `classes`, `[B, classes]`, each row of sum 1. A row is one-hot, or has the two
    /// labels of a blend with their weights.
    ///
    /// # Errors
    /// [`DataError::BatchLabel`] for a label not below `classes`.
    pub fn soft_labels(&self, classes: usize) -> Result<Vec<f64>> {
        let mut targets = vec![0.0; self.labels.len() * classes];
        let weight = self.mixed.as_ref().map_or(1.0, |mixed| mixed.weight);
        let own = (&self.labels, weight);
        let partners = self.mixed.iter().map(|mixed| (&mixed.labels, 1.0 - mixed.weight));
        for (labels, weight) in std::iter::once(own).chain(partners) {
            for (sample, &label) in labels.iter().enumerate() {
                if label >= classes {
                    return Err(DataError::BatchLabel { sample, label, classes });
                }
                targets[sample * classes + label] += weight;
            }
        }
        Ok(targets)
    }

    /// Index in the loader's data set of the image whose label weighs most in each sample, `[B]`. It is the sample's
    /// own image, or its partner where the partner's label weighs more than ½.
    pub fn heavier_indices(&self) -> Vec<usize> {
        match &self.mixed {
            Some(mixed) if mixed.weight < 0.5 => mixed.indices.clone(),
            _ => self.indices.clone(),
        }
    }

    /// Number of samples `B`.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
