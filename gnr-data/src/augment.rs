//! Random crop of the zero-padded image and horizontal flip: the augmentation of the CIFAR literature.

use crate::dataset::Image;
use crate::error::{DataError, Result};
use crate::random::{Purpose, Stream};

/// How training images are varied.
///
/// Torchvision's `RandomCrop(size, padding = pad)` then `RandomHorizontalFlip(0.5)`: the image is surrounded by `pad`
/// black (byte 0, *before* normalisation) pixels on each side, a window of the original size is cut out at a uniformly
/// random place, and the window is mirrored left to right with probability ½.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Black pixels added on each side before cropping back. Default 0: no shift.
    pub pad: usize,
    /// Whether images may be mirrored. Default: never.
    pub flip: Flip,
}

/// Whether images may be mirrored left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flip {
    /// Images keep their orientation (digits: a mirrored 2 is no digit).
    #[default]
    Never,
    /// Mirrored with probability ½.
    Half,
}

/// The window and orientation drawn for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variation {
    /// Top row of the window, in the padded image: `0..=2·pad`; `pad` is no shift.
    pub top: usize,
    /// Left column of the window, in the padded image: `0..=2·pad`.
    pub left: usize,
    /// Whether the window is mirrored.
    pub mirrored: bool,
}

impl Augmentation {
    /// No variation: every image as it is.
    pub const NONE: Self = Self { pad: 0, flip: Flip::Never };
    /// Pad 4, crop, flip (§5 of the paper: CIFAR).
    pub const CIFAR: Self = Self { pad: 4, flip: Flip::Half };

    /// The variation of image `index` in epoch `epoch`: a pure function of its arguments.
    ///
    /// `index` is the image's number in the data set given to the loader.
    pub fn draw(&self, seed: u64, epoch: u64, index: usize) -> Variation {
        if *self == Self::NONE {
            return Variation { top: 0, left: 0, mirrored: false };
        }
        let mut stream = Stream::at(seed, Purpose::Augment, epoch, index as u64);
        let top = stream.below(2 * self.pad + 1);
        let left = stream.below(2 * self.pad + 1);
        Variation { top, left, mirrored: self.flip == Flip::Half && stream.coin() }
    }

    /// Refuses a padding that could leave nothing of an image.
    pub(crate) fn check(&self, [_, height, width]: [usize; 3]) -> Result<()> {
        if self.pad > 0 && self.pad >= height.min(width) {
            return Err(DataError::config(
                "augment.pad",
                self.pad,
                format!("must be smaller than the image ({height}x{width}), or a crop could be all padding"),
            ));
        }
        Ok(())
    }

    /// Writes the varied, normalised image to `out` `[C, H, W]`: one pass, one table look-up a pixel.
    pub(crate) fn apply(
        &self,
        image: &Image<'_>,
        variation: Variation,
        tables: &[[f32; 256]],
        out: &mut [f32],
    ) {
        let (height, width, pad) = (image.height, image.width, self.pad);
        // Columns of the window that fall inside the image, before mirroring.
        let (first, last) = overlap(variation.left, pad, width);
        let planes = image.pixels.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for ((source, target), table) in planes.zip(tables) {
            for (y, row) in target.chunks_exact_mut(width).enumerate() {
                let inside = (y + variation.top).checked_sub(pad).filter(|&from| from < height);
                let Some(from) = inside else {
                    row.fill(table[0]);
                    continue;
                };
                row[..first].fill(table[0]);
                row[last..].fill(table[0]);
                let start = from * width + first + variation.left - pad;
                let bytes = &source[start..start + last - first];
                for (value, &byte) in row[first..last].iter_mut().zip(bytes) {
                    *value = table[usize::from(byte)];
                }
                if variation.mirrored {
                    row.reverse();
                }
            }
        }
    }
}

/// Range of window columns `x` with `0 <= x + left - pad < width`.
fn overlap(left: usize, pad: usize, width: usize) -> (usize, usize) {
    let first = pad.saturating_sub(left).min(width);
    let last = (width + pad).saturating_sub(left).min(width);
    (first, last.max(first))
}
