//! The keys of `[data]` that vary training images beyond `augment`, and the augmentation of gnr-data that they make.

use gnr_data::{Augmentation, Erase, Flip, Mix, RandomResizedCrop};
use serde::Serialize;

use super::{Augment, reader::Reader};

/// Random variation of training images, each kind on its own; see gnr-data for the distributions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Variation {
    /// Range of a random resized crop's share of the area. Default [0.08, 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_scale: Option<[f64; 2]>,
    /// Range of a random resized crop's width over its height. Default [3/4, 4/3].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_ratio: Option<[f64; 2]>,
    /// Random changes of colour, `[data.color_jitter]`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Random operations, `[data.rand_augment]`, or `true` for its defaults. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// A random rectangle, `[data.random_erasing]`, or `true` for its defaults. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
    /// Side of the square of cutout in pixels, even. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<usize>,
    /// Parameter α of mixup. Default: no mixup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// Parameter α of CutMix; with mixup, each batch has one of the two. Default: no CutMix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// Probability that a batch is blended at all. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix_probability: Option<f64>,
}

/// Extents x of random changes of colour. 0, the default of each, leaves a property as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ColorJitter {
    /// Brightness: the factor lies in [1 − x, 1 + x].
    pub brightness: f64,
    /// Contrast: the factor lies in [1 − x, 1 + x].
    pub contrast: f64,
    /// Saturation: the factor lies in [1 − x, 1 + x].
    pub saturation: f64,
    /// Hue: the shift lies in [−x, x] of the colour circle, x ≤ ½.
    pub hue: f64,
}

/// Operations drawn from RandAugment's fourteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RandAugment {
    /// Number of operations for each image. Default 2.
    pub operations: usize,
    /// Strength of the operations, 0..=30. Default 9.
    pub magnitude: usize,
}

/// A random rectangle becomes the mean colour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RandomErasing {
    /// Probability for each image, in [0, 1]. Default 0.5.
    pub probability: f64,
    /// Range of the rectangle's share of the area. Default [0.02, 0.33].
    pub scale: [f64; 2],
    /// Range of the rectangle's height over its width. Default [0.3, 3.3].
    pub ratio: [f64; 2],
}

const SHARES: &str = "needs 0 < low <= high <= 1";
const RATIOS: &str = "needs 0 < low <= high <= 1000";
const PROBABILITY: &str = "a probability, must lie in [0, 1]";
const ALPHA: &str = "must lie in (0, 100]";

fn shares([low, high]: &[f64; 2]) -> bool {
    *low > 0.0 && low <= high && *high <= 1.0
}

fn ratios([low, high]: &[f64; 2]) -> bool {
    *low > 0.0 && low <= high && *high <= 1000.0
}

fn probability(x: &f64) -> bool {
    (0.0..=1.0).contains(x)
}

pub(super) fn read(reader: &mut Reader<'_>, augment: Augment) -> Variation {
    let color_jitter = jitter(reader);
    let enabled = reader.enabled("data.rand_augment", false);
    let mut section = reader.keys_of("data.rand_augment");
    let policy = RandAugment {
        operations: section.value_in("operations", 2, |n| (1..=14).contains(n), "must lie in 1..=14"),
        magnitude: section.value_in("magnitude", 9, |n| *n <= 30, "must lie in 0..=30"),
    };
    let rand_augment = enabled.then_some(policy);
    let enabled = reader.enabled("data.random_erasing", false);
    let mut section = reader.keys_of("data.random_erasing");
    let erasing = RandomErasing {
        probability: section.value_in("probability", 0.5, probability, PROBABILITY),
        scale: section.value_in("scale", [0.02, 0.33], shares, SHARES),
        ratio: section.value_in("ratio", [0.3, 3.3], ratios, RATIOS),
    };
    let random_erasing = enabled.then_some(erasing);
    let mut data = reader.section("data");
    let crop_scale = data.optional_in("crop_scale", shares, SHARES);
    let crop_ratio = data.optional_in("crop_ratio", ratios, RATIOS);
    let cutout =
        data.optional_in("cutout", |n: &usize| *n > 0 && n.is_multiple_of(2), "must be positive and even");
    let alpha = |x: &f64| *x > 0.0 && *x <= 100.0;
    let mixup = data.optional_in("mixup", alpha, ALPHA);
    let cutmix = data.optional_in("cutmix", alpha, ALPHA);
    let mix_probability = data.optional_in("mix_probability", probability, PROBABILITY);
    let crops = augment == Augment::RandomResizedCrop;
    data.only_for("crop_scale", &crop_scale, crops, "augment = \"random-resized-crop\"");
    data.only_for("crop_ratio", &crop_ratio, crops, "augment = \"random-resized-crop\"");
    data.only_for("cutout", &cutout, random_erasing.is_none(), "no `random_erasing`: one of the two");
    data.only_for(
        "mix_probability",
        &mix_probability,
        mixup.is_some() || cutmix.is_some(),
        "`mixup` or `cutmix`",
    );
    Variation {
        crop_scale,
        crop_ratio,
        color_jitter,
        rand_augment,
        random_erasing,
        cutout,
        mixup,
        cutmix,
        mix_probability,
    }
}

fn jitter(reader: &mut Reader<'_>) -> Option<ColorJitter> {
    let mut section = reader.section("data.color_jitter");
    let mut extent = |key: &str, most: f64, requirement: &str| {
        section.value_in(key, 0.0, |x| (0.0..=most).contains(x), requirement)
    };
    let not_negative = "must be 0 or larger, and finite";
    let jitter = ColorJitter {
        brightness: extent("brightness", f64::MAX, not_negative),
        contrast: extent("contrast", f64::MAX, not_negative),
        saturation: extent("saturation", f64::MAX, not_negative),
        hue: extent("hue", 0.5, "must lie in [0, 0.5]"),
    };
    section.present().then_some(jitter)
}

impl Variation {
    /// The whole augmentation: these variations on top of `augment`.
    pub(crate) fn augmentation(&self, augment: Augment) -> Augmentation {
        let mut all = match augment {
            Augment::None => Augmentation::NONE,
            Augment::Flip => Augmentation { flip: Flip::Half, ..Augmentation::NONE },
            Augment::PadCropFlip => Augmentation::CIFAR,
            Augment::RandomResizedCrop => Augmentation::IMAGENET,
        };
        if let Some(crop) = &mut all.crop {
            let usual = RandomResizedCrop::IMAGENET;
            crop.scale = self.crop_scale.unwrap_or(usual.scale);
            crop.ratio = self.crop_ratio.unwrap_or(usual.ratio);
        }
        all.jitter = self.color_jitter.map(|jitter| gnr_data::ColorJitter {
            brightness: jitter.brightness,
            contrast: jitter.contrast,
            saturation: jitter.saturation,
            hue: jitter.hue,
        });
        all.policy = self.rand_augment.map(|policy| gnr_data::RandAugment {
            operations: policy.operations,
            magnitude: policy.magnitude,
        });
        let erasing = self.random_erasing.map(|RandomErasing { probability, scale, ratio }| Erase::Random {
            probability,
            scale,
            ratio,
        });
        all.erase = erasing.or(self.cutout.map(|size| Erase::Cutout { size }));
        all.mix = (self.mixup.is_some() || self.cutmix.is_some()).then(|| Mix {
            mixup: self.mixup.unwrap_or(0.0),
            cutmix: self.cutmix.unwrap_or(0.0),
            probability: self.mix_probability.unwrap_or(1.0),
        });
        all
    }
}
