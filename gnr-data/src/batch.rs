//! A mini-batch on the host: normalised pixels, labels, and where they came from.

use crate::augment::Mixed;
use crate::error::{DataError, Result};

/// A mini-batch, ready to be copied to whatever device the training uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[B, C, H, W]`, row-major.
    pub images: Vec<f32>,
    /// Labels, `[B]`.
    pub labels: Vec<usize>,
    /// `[B, C, H, W]`.
    pub shape: [usize; 4],
    /// Number of each sample in the loader's data set, `[B]`.
    pub indices: Vec<usize>,
    /// Labels of what was blended in, when the batch was made by mixup or CutMix.
    pub mixed: Option<Mixed>,
}

impl Batch {
    /// A batch from the caller's own numbers, checked: for data that does not come from a [`Loader`](crate::Loader).
    ///
    /// `indices` are `0..B`.
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

    /// The labels as distributions over `classes`, `[B, classes]`, each row of sum 1: one-hot, or the two labels of a
    /// blend with their weights.
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

    /// Number, in the loader's data set, of the image whose label weighs most in each sample, `[B]`: the sample's own
    /// image, or its partner where a blend gives the partner's label more than ½.
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
