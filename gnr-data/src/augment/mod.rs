//! Random variation of training images: crops, shifts, mirroring, colours, policies, erasing, mixing.
//!
//! Draws for an image are pure functions of (seed, epoch, index), those for mixing of (seed, epoch, number of the
//! batch). Each kind of variation has its own stream, so switching one on does not change the others.

mod affine;
mod color;
mod crop;
mod erase;
mod jitter;
mod mix;
mod policy;

pub use crop::RandomResizedCrop;
pub use erase::Erase;
pub use jitter::ColorJitter;
pub use mix::{Mix, Mixed};
pub use policy::{Operation, RandAugment};

use std::borrow::Cow;

use crate::dataset::Image;
use crate::error::{DataError, Result};
use crate::random::{Purpose, Stream};
use crate::resample::{Window, resample};

/// The random variation of training images, in this order: crop, pad and shift, flip, colour jitter, RandAugment,
/// normalisation, erasing, and mixing of the batch.
///
/// `pad` and `flip` are torchvision's `RandomCrop(size, padding = pad)` and `RandomHorizontalFlip(0.5)`. The image is
/// surrounded by `pad` black pixels (byte 0, *before* normalisation) on each side, and a window of the original size is
/// cut out at a uniformly random place. The window is mirrored left to right with probability ½.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augmentation {
    /// Cuts a random part out of the published image and scales it to the data set's size. Default: none.
    pub crop: Option<RandomResizedCrop>,
    /// Black pixels added on each side before cropping back. Default 0: no shift.
    pub pad: usize,
    /// Whether images may be mirrored. Default: never.
    pub flip: Flip,
    /// Random brightness, contrast, saturation, hue. Default: none.
    pub jitter: Option<ColorJitter>,
    /// A few operations drawn from a fixed list. Default: none.
    pub policy: Option<RandAugment>,
    /// Sets a rectangle to the mean colour. Default: none.
    pub erase: Option<Erase>,
    /// Blends images of a batch, and their labels. Default: none.
    pub mix: Option<Mix>,
}

/// Whether images may be mirrored left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flip {
    /// Images keep their orientation (digits: a mirrored 2 is no digit).
    #[default]
    Never,
    /// Images are mirrored with probability ½.
    Half,
}

/// The window and orientation drawn for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variation {
    /// Top row of the window in the padded image, in `0..=2·pad`; `pad` means no shift.
    pub top: usize,
    /// Left column of the window in the padded image, in `0..=2·pad`; `pad` means no shift.
    pub left: usize,
    /// Whether the window is mirrored.
    pub mirrored: bool,
}

/// The coordinates that address the draws of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) index: usize,
}

impl Place {
    fn stream(self, purpose: Purpose) -> Stream {
        Stream::at(self.seed, purpose, self.epoch, self.index as u64)
    }
}

/// The table that maps every byte to itself.
const IDENTITY: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte as u8;
        byte += 1;
    }
    table
};

impl Augmentation {
    /// No variation: every image stays as it is.
    pub const NONE: Self =
        Self { crop: None, pad: 0, flip: Flip::Never, jitter: None, policy: None, erase: None, mix: None };
    /// Mirroring with probability ½, and no other variation.
    pub const FLIP: Self = Self { flip: Flip::Half, ..Self::NONE };
    /// The variation of CIFAR in §5 of the paper: pad 4, crop, flip.
    pub const CIFAR: Self = Self { pad: 4, ..Self::FLIP };
    /// The usual variation of ImageNet: random resized crop and flip.
    pub const IMAGENET: Self = Self { crop: Some(RandomResizedCrop::IMAGENET), ..Self::FLIP };

    /// The shift and orientation of image `index` in epoch `epoch`: a pure function of its arguments.
    ///
    /// `index` is the image's number in the data set given to the loader.
    pub fn draw(&self, seed: u64, epoch: u64, index: usize) -> Variation {
        if self.pad == 0 && self.flip == Flip::Never {
            return Variation { top: 0, left: 0, mirrored: false };
        }
        let mut stream = Place { seed, epoch, index }.stream(Purpose::Augment);
        let top = stream.below(2 * self.pad + 1);
        let left = stream.below(2 * self.pad + 1);
        Variation { top, left, mirrored: self.flip == Flip::Half && stream.coin() }
    }

    /// Refuses settings that images of this shape `[C, H, W]` do not allow.
    pub(crate) fn check(&self, [_, height, width]: [usize; 3]) -> Result<()> {
        if self.pad > 0 && self.pad >= height.min(width) {
            return Err(DataError::config(
                "augment.pad",
                self.pad,
                format!("must be smaller than the image ({height}x{width}), or a crop could be all padding"),
            ));
        }
        self.crop.map_or(Ok(()), |crop| crop.check())?;
        self.jitter.map_or(Ok(()), |jitter| jitter.check())?;
        self.policy.map_or(Ok(()), |policy| policy.check())?;
        self.erase.map_or(Ok(()), |erase| erase.check())?;
        self.mix.map_or(Ok(()), |mix| mix.check())
    }

    /// Writes the varied, normalised image to `out` `[C, H, W]`. `image` has the shape of `out`, or any size where
    /// there is a [`crop`](Self::crop).
    pub(crate) fn render(
        &self,
        image: Image<'_>,
        [_, height, width]: [usize; 3],
        place: Place,
        tables: &[[f32; 256]],
        out: &mut [f32],
    ) {
        let image = match self.crop {
            Some(crop) => {
                let window = crop.draw(&mut place.stream(Purpose::Crop), image.height, image.width);
                let cut = Window { top: 0, left: 0, height, width };
                resample(&image, window, (height, width), cut, crop.interpolation)
            }
            None => image,
        };
        let variation = self.draw(place.seed, place.epoch, place.index);
        if self.jitter.is_none() && self.policy.is_none() {
            self.shift(&image, variation, tables, out);
        } else {
            let mut bytes = vec![0; image.pixels.len()];
            self.shift(&image, variation, &vec![IDENTITY; image.channels], &mut bytes);
            let mut image = Image { pixels: Cow::Owned(bytes), ..image };
            if let Some(jitter) = self.jitter {
                jitter.apply(&mut place.stream(Purpose::Jitter), &mut image);
            }
            if let Some(policy) = self.policy {
                policy.apply(&mut place.stream(Purpose::Policy), &mut image);
            }
            Self::NONE.shift(&image, Self::NONE.draw(0, 0, 0), tables, out);
        }
        if let Some(erase) = self.erase
            && let Some(window) = erase.draw(&mut place.stream(Purpose::Erase), height, width)
        {
            erase::blank(out, height, width, window);
        }
    }

    /// Writes the shifted, mirrored image to `out` `[C, H, W]` in one pass, through one table a channel.
    fn shift<T: Copy>(&self, image: &Image<'_>, variation: Variation, tables: &[[T; 256]], out: &mut [T]) {
        let (height, width, pad) = (image.height, image.width, self.pad);
        // Columns of the window that lie inside the image, before mirroring.
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

/// The range of window columns `x` with `0 <= x + left - pad < width`.
fn overlap(left: usize, pad: usize, width: usize) -> (usize, usize) {
    let first = pad.saturating_sub(left).min(width);
    let last = (width + pad).saturating_sub(left).min(width);
    (first, last.max(first))
}

/// Fails unless both ends of a range are finite and `0 < low <= high <= most`.
fn check_range(key: &'static str, range: [f64; 2], most: f64) -> Result<()> {
    let [low, high] = range;
    if low > 0.0 && low <= high && high <= most && high.is_finite() {
        return Ok(());
    }
    Err(DataError::config(key, format!("{range:?}"), format!("needs 0 < low <= high <= {most}")))
}

/// Fails unless `probability` lies in [0, 1].
fn check_probability(key: &'static str, probability: f64) -> Result<()> {
    if (0.0..=1.0).contains(&probability) {
        return Ok(());
    }
    Err(DataError::config(key, probability, "a probability, must be in [0, 1]"))
}
