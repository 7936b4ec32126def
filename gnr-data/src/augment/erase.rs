//! Blanking a rectangle after normalisation: cutout and random erasing.

use super::{check_probability, check_range};
use crate::error::{DataError, Result};
use crate::random::Stream;
use crate::resample::Window;

/// A rectangle of a normalised image that becomes 0, which is the mean colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Erase {
    /// A square around a uniformly random pixel, without the part that lies outside the image.
    ///
    /// # References
    /// DeVries, Taylor, *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017 (16 for CIFAR-10,
    /// 8 for CIFAR-100).
    Cutout {
        /// Side of the square in pixels, even.
        size: usize,
    },
    /// With a probability, a rectangle of random area and proportions inside the image. After ten draws that do not
    /// fit, nothing is erased.
    ///
    /// # References
    /// Zhong et al., *Random Erasing Data Augmentation*, AAAI 2020, algorithm 1.
    Random {
        /// Probability that an image is erased at all, in [0, 1].
        probability: f64,
        /// Range of the rectangle's share of the area.
        scale: [f64; 2],
        /// Range of the rectangle's height over its width.
        ratio: [f64; 2],
    },
}

impl Erase {
    /// Random erasing with torchvision's defaults: probability ½, 2 to 33 % of the area, 3:10 to 33:10.
    pub const RANDOM: Self = Self::Random { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3] };

    pub(super) fn check(&self) -> Result<()> {
        match *self {
            Self::Cutout { size } if size > 0 && size % 2 == 0 => Ok(()),
            Self::Cutout { size } => Err(DataError::config("cutout", size, "must be positive and even")),
            Self::Random { probability, scale, ratio } => {
                check_probability("erase.probability", probability)?;
                check_range("erase.scale", scale, 1.0)?;
                check_range("erase.ratio", ratio, 1e3)
            }
        }
    }

    pub(super) fn draw(&self, stream: &mut Stream, height: usize, width: usize) -> Option<Window> {
        match *self {
            Self::Cutout { size } => {
                let (y, x, half) = (stream.below(height), stream.below(width), size / 2);
                let (top, left) = (y.saturating_sub(half), x.saturating_sub(half));
                let (bottom, right) = (height.min(y + half), width.min(x + half));
                Some(Window { top, left, height: bottom - top, width: right - left })
            }
            Self::Random { probability, scale, ratio } => {
                if stream.unit() >= probability {
                    return None;
                }
                (0..10).find_map(|_| {
                    let target = (height * width) as f64 * stream.between(scale);
                    let ratio = stream.between(ratio.map(f64::ln)).exp();
                    let h = (target * ratio).sqrt().round_ties_even() as usize;
                    let w = (target / ratio).sqrt().round_ties_even() as usize;
                    (h < height && w < width).then(|| {
                        let top = stream.below(height - h + 1);
                        Window { top, left: stream.below(width - w + 1), height: h, width: w }
                    })
                })
            }
        }
    }
}

/// Sets a window of every channel of `out` `[C, height, width]` to 0.
pub(super) fn blank(out: &mut [f32], height: usize, width: usize, window: Window) {
    for plane in out.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width).skip(window.top).take(window.height) {
            row[window.left..window.left + window.width].fill(0.0);
        }
    }
}
