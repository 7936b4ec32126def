//! RandAugment, and the operations that it draws from.

use super::{affine, color};
use crate::dataset::Image;
use crate::error::{DataError, Result};
use crate::random::Stream;

/// Torchvision's `RandAugment`: draws `operations` times from [`Operation::ALL`] with equal probability, and applies
/// each operation at `magnitude`.
///
/// # References
/// Cubuk et al., *RandAugment*, CVPR workshops 2020. Ranges of the magnitudes: torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandAugment {
    /// Number of operations for each image; default 2.
    pub operations: usize,
    /// Strength of the operations, in `0..=30`; default 9.
    pub magnitude: usize,
}

impl Default for RandAugment {
    /// Two operations at magnitude 9.
    fn default() -> Self {
        Self { operations: 2, magnitude: 9 }
    }
}

/// An operation on an image's bytes, equal to Pillow's. In [`RandAugment`] the signed ones have a random sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// No change of the image.
    Identity,
    /// Shifts rows in proportion to their number.
    ShearX,
    /// Shifts columns in proportion to their number.
    ShearY,
    /// Shifts the image horizontally by whole pixels.
    TranslateX,
    /// Shifts the image vertically by whole pixels.
    TranslateY,
    /// Rotates around the centre, by degrees counter-clockwise.
    Rotate,
    /// Multiplies the brightness by 1 + magnitude.
    Brightness,
    /// Multiplies the saturation by 1 + magnitude.
    Color,
    /// Multiplies the distance from the mean grey by 1 + magnitude.
    Contrast,
    /// Multiplies the distance from the smoothed image by 1 + magnitude.
    Sharpness,
    /// Keeps the given number of high bits of each byte.
    Posterize,
    /// Inverts bytes from a threshold on.
    Solarize,
    /// Stretches each channel to 0..=255.
    AutoContrast,
    /// Makes the histogram of each channel flat.
    Equalize,
}

impl Operation {
    /// All operations, in torchvision's order.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// The argument of [`apply`](Self::apply) at strength `bin`, in `0..=30`, for an image of `height` x `width`, and
    /// whether [`RandAugment`] draws its sign.
    pub fn magnitude(self, bin: usize, height: usize, width: usize) -> (f64, bool) {
        const BINS: f64 = 30.0;
        let share = bin as f64 / BINS;
        match self {
            Self::ShearX | Self::ShearY => (0.3 * share, true),
            Self::TranslateX => (150.0 / 331.0 * width as f64 * share, true),
            Self::TranslateY => (150.0 / 331.0 * height as f64 * share, true),
            Self::Rotate => (30.0 * share, true),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => (0.9 * share, true),
            Self::Posterize => (8.0 - (4.0 * share).round_ties_even(), false),
            Self::Solarize => (255.0 * (1.0 - share), false),
            Self::Identity | Self::AutoContrast | Self::Equalize => (0.0, false),
        }
    }

    /// Changes `image` in place. Pixels shifted in from outside the image are black. `Color` leaves grey images alone.
    pub fn apply(self, image: &mut Image<'static>, magnitude: f64) {
        match self {
            Self::Identity => {}
            Self::ShearX => affine::transform(image, [1.0, magnitude, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => affine::transform(image, [1.0, 0.0, 0.0, magnitude, 1.0, 0.0]),
            Self::TranslateX => affine::transform(image, [1.0, 0.0, -magnitude.trunc(), 0.0, 1.0, 0.0]),
            Self::TranslateY => affine::transform(image, [1.0, 0.0, 0.0, 0.0, 1.0, -magnitude.trunc()]),
            Self::Rotate => affine::rotate(image, magnitude),
            Self::Brightness => color::brightness(image, 1.0 + magnitude),
            Self::Color => color::saturation(image, 1.0 + magnitude),
            Self::Contrast => color::contrast(image, 1.0 + magnitude),
            Self::Sharpness => color::sharpness(image, 1.0 + magnitude),
            Self::Posterize => color::posterize(image, magnitude as u32),
            Self::Solarize => color::solarize(image, magnitude),
            Self::AutoContrast => color::autocontrast(image),
            Self::Equalize => color::equalize(image),
        }
    }
}

impl RandAugment {
    pub(super) fn check(&self) -> Result<()> {
        if self.magnitude > 30 {
            return Err(DataError::config("rand_augment.magnitude", self.magnitude, "must be in 0..=30"));
        }
        if !(1..=14).contains(&self.operations) {
            return Err(DataError::config("rand_augment.operations", self.operations, "must be in 1..=14"));
        }
        Ok(())
    }

    pub(super) fn apply(&self, stream: &mut Stream, image: &mut Image<'static>) {
        for _ in 0..self.operations {
            let operation = Operation::ALL[stream.below(Operation::ALL.len())];
            let (magnitude, signed) = operation.magnitude(self.magnitude, image.height, image.width);
            let negative = stream.coin() && signed;
            operation.apply(image, if negative { -magnitude } else { magnitude });
        }
    }
}
