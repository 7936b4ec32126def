//! Mixup and CutMix blend a batch with itself shifted by one, images and labels alike.

use super::check_probability;
use crate::error::{DataError, Result};
use crate::random::{Purpose, Stream};
use crate::resample::Window;

/// Blending of the images of a batch. The partner of image `i` is image `i − 1`, that of the first image is the last
/// one.
///
/// Each batch draws λ ~ Beta(α, α). Mixup makes λ·x_i + (1 − λ)·x_{i−1}. CutMix takes a box of a share 1 − λ of the
/// area from the partner, around a uniform centre and cut off at the border. λ is then the share that remains of the
/// image itself. Labels weigh λ and 1 − λ.
///
/// # References
/// Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018; Yun et al., *CutMix*, ICCV 2019, algorithm A1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// The parameter α of mixup, at most 100; 0 switches mixup off.
    pub mixup: f64,
    /// The parameter α of CutMix, at most 100; 0 switches CutMix off. When both are on, each batch has one of them,
    /// with probability ½.
    pub cutmix: f64,
    /// Probability that a batch is blended at all, in [0, 1].
    pub probability: f64,
}

/// The labels of the partners in a blended batch, and their weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// Labels of the partners, `[B]`.
    pub labels: Vec<usize>,
    /// Index of each partner in the loader's data set, `[B]`.
    pub indices: Vec<usize>,
    /// The weight λ of the images' own labels, in [0, 1]; those of the partners weigh 1 − λ.
    pub weight: f64,
}

/// The blend that was drawn for a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Blend {
    Mixup { weight: f64 },
    CutMix { window: Window },
}

impl Mix {
    /// The largest α: λ is then within a few per cent of ½.
    const MAX_ALPHA: f64 = 100.0;

    pub(super) fn check(&self) -> Result<()> {
        for (key, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..=Self::MAX_ALPHA).contains(&alpha) {
                return Err(DataError::config(key, alpha, "α must be in [0, 100]"));
            }
        }
        check_probability("mix probability", self.probability)
    }

    /// Draws the blend of batch `batch` of an epoch, for images `height` x `width`.
    pub(crate) fn draw(
        &self,
        seed: u64,
        epoch: u64,
        batch: usize,
        height: usize,
        width: usize,
    ) -> Option<Blend> {
        let mut stream = Stream::at(seed, Purpose::Mix, epoch, batch as u64);
        if (self.mixup == 0.0 && self.cutmix == 0.0) || stream.unit() >= self.probability {
            return None;
        }
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => stream.coin(),
            (_, cuts) => cuts,
        };
        if !cuts {
            return Some(Blend::Mixup { weight: stream.symmetric_beta(self.mixup) });
        }
        let side = (1.0 - stream.symmetric_beta(self.cutmix)).sqrt();
        let (h, w) = ((height as f64 * side) as usize, (width as f64 * side) as usize);
        let (y, x) = (stream.below(height), stream.below(width));
        let (top, left) = (y.saturating_sub(h / 2), x.saturating_sub(w / 2));
        let (bottom, right) = (height.min(y + h / 2), width.min(x + w / 2));
        Some(Blend::CutMix { window: Window { top, left, height: bottom - top, width: right - left } })
    }
}

impl Blend {
    /// Blends `images` `[B, C, height, width]` in place and returns the labels of the partners.
    pub(crate) fn apply(
        self,
        images: &mut [f32],
        labels: &[usize],
        indices: &[usize],
        height: usize,
        width: usize,
    ) -> Mixed {
        let size = images.len() / labels.len().max(1);
        let last = images[images.len() - size..].to_vec();
        for i in (0..labels.len()).rev() {
            let (before, own) = images.split_at_mut(i * size);
            let partner = if i == 0 { &last[..] } else { &before[before.len() - size..] };
            self.image(&mut own[..size], partner, height, width);
        }
        let (mut labels, mut indices) = (labels.to_vec(), indices.to_vec());
        if labels.len() > 1 {
            labels.rotate_right(1);
            indices.rotate_right(1);
        }
        let weight = match self {
            Self::Mixup { weight } => weight,
            Self::CutMix { window } => 1.0 - (window.height * window.width) as f64 / (height * width) as f64,
        };
        Mixed { labels, indices, weight }
    }

    fn image(self, own: &mut [f32], partner: &[f32], height: usize, width: usize) {
        match self {
            Self::Mixup { weight } => {
                for (own, &partner) in own.iter_mut().zip(partner) {
                    *own = (weight * f64::from(*own) + (1.0 - weight) * f64::from(partner)) as f32;
                }
            }
            Self::CutMix { window } => {
                let planes = own.chunks_exact_mut(height * width).zip(partner.chunks_exact(height * width));
                for (own, partner) in planes {
                    for y in window.top..window.top + window.height {
                        let row = y * width + window.left..y * width + window.left + window.width;
                        own[row.clone()].copy_from_slice(&partner[row]);
                    }
                }
            }
        }
    }
}
