//! The section `[data]` of a recipe: the images and their variation.

use serde::Serialize;

use super::{
    augment::{self, Variation},
    domain::{AT_LEAST_ONE, in_unit},
    label_noise::{self, LabelNoise},
    reader::Reader,
};

/// The section `[data]`: the images and their variation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// The data set, a name that `gnr data` lists. Default `digits`.
    pub name: String,
    /// The folder of the files, where a leading `~` is the user's home folder. Default: none. Installed sets need none,
    /// and embedded ones refuse one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Whether files and folders that would be left out (a `val` beside `test`, for one), images of a single colour and
    /// names that are easily confused are errors instead of warnings. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Fraction of the training images held out for validation, in [0, 1). Default 0.
    pub validation: f64,
    /// Seed of the choice of validation images. Default 0.
    pub validation_seed: u64,
    /// Random variation of the training images. Default: the usual one of the data set.
    pub augment: Augment,
    /// Further variations, under the same section. Default: none.
    #[serde(flatten)]
    pub variation: Variation,
    /// The preset of mean and standard deviation. Default: the data set's own.
    pub normalization: String,
    /// A part of the training images, `[data.subset]`. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Wrong training labels, `[data.label_noise]`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<LabelNoise>,
    /// One size for all images, `[data.resize]`. Default: images are not resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
}

/// The random variation of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// No variation of the images.
    None,
    /// Mirroring with probability ½.
    Flip,
    /// A shift by padding with 4 pixels and cropping, then mirroring with probability ½.
    PadCropFlip,
    /// A part of random area and proportions, scaled to the size of `resize`, then mirroring with probability ½.
    RandomResizedCrop,
}

/// The section `[data.subset]`, with one of `count` and `per_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Subset {
    /// Number of images in all, each class in proportion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Number of images of each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Seed of the choice of images. Default 0.
    pub seed: u64,
}

/// The section `[data.resize]`: the shorter side is scaled, then the centre is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resize {
    /// Length of the shorter side in pixels.
    pub shorter: usize,
    /// Number of rows that are kept.
    pub height: usize,
    /// Number of columns that are kept.
    pub width: usize,
    /// The filter of the scaling, of random resized crops, too. Default bilinear.
    pub interpolation: Interpolation,
}

/// The filters of a change of size, equal to Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle of half-width 1.
    Bilinear,
    /// Keys' cubic of half-width 2.
    Bicubic,
}

impl From<Interpolation> for gnr_data::Interpolation {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Bilinear => Self::Bilinear,
            Interpolation::Bicubic => Self::Bicubic,
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Data {
    let subset = subset(reader);
    let label_noise = label_noise::read(reader);
    let resize = resize(reader);
    let mut data = reader.section("data");
    let name = data.value("name", "digits".to_owned());
    let known = match gnr_data::find(&name) {
        Ok(known) => Some(known),
        Err(error) => {
            data.refuse("name", &format!("{name:?}"), &error.to_string());
            None
        }
    };
    let usual = match known.map(|known| known.augmentation) {
        None | Some(gnr_data::Augmentation::NONE) => Augment::None,
        Some(augmentation) if augmentation.crop.is_some() => Augment::RandomResizedCrop,
        Some(_) => Augment::PadCropFlip,
    };
    let augments = [
        ("none", Augment::None),
        ("flip", Augment::Flip),
        ("pad-crop-flip", Augment::PadCropFlip),
        ("random-resized-crop", Augment::RandomResizedCrop),
        // An alias: the data set for which this augmentation is usual.
        ("imagenet", Augment::RandomResizedCrop),
    ];
    let augment = data.choice("augment", &augments).unwrap_or(usual);
    let usual_preset = known.map_or("unit", |known| known.preset);
    let normalization = data.optional::<String>("normalization");
    if let Some(Err(error)) = normalization.as_deref().map(gnr_data::Normalization::preset) {
        data.refuse(
            "normalization",
            &format!("{:?}", normalization.as_deref().unwrap_or_default()),
            &match error {
                gnr_data::DataError::Config { reason, .. } => reason,
                other => other.to_string(),
            },
        );
    }
    let dir = data.optional::<String>("dir");
    let strict = data.value("strict", false);
    let validation = data.value_in("validation", 0.0, in_unit, "a fraction, must lie in [0, 1)");
    let validation_seed = data.value("validation_seed", 0);
    let variation = augment::read(reader, augment);
    Data {
        dir,
        strict,
        validation,
        validation_seed,
        augment,
        variation,
        normalization: normalization.unwrap_or_else(|| usual_preset.to_owned()),
        subset,
        label_noise,
        resize,
        name,
    }
}

fn subset(reader: &mut Reader<'_>) -> Option<Subset> {
    let mut section = reader.section("data.subset");
    let count = section.optional_in("count", |n: &usize| *n > 0, AT_LEAST_ONE);
    let per_class = section.optional_in("per_class", |n: &usize| *n > 0, AT_LEAST_ONE);
    let seed = section.value("seed", 0);
    if count.is_some() && per_class.is_some() {
        section.refuse("per_class", "given", "`count` is given too: one of the two");
    } else if section.present() && !section.has("count") && !section.has("per_class") {
        section.refuse("count", "nothing", "a subset needs `count` or `per_class`");
    }
    (count.is_some() || per_class.is_some()).then_some(Subset { count, per_class, seed })
}

fn resize(reader: &mut Reader<'_>) -> Option<Resize> {
    let mut section = reader.section("data.resize");
    let present = section.present();
    let mut side = |key: &str| section.optional_in(key, |n: &usize| *n > 0, AT_LEAST_ONE);
    let (shorter, height, width) = (side("shorter"), side("height"), side("width"));
    let filters = [("bilinear", Interpolation::Bilinear), ("bicubic", Interpolation::Bicubic)];
    let interpolation = section.choice("interpolation", &filters).unwrap_or(Interpolation::Bilinear);
    let Some(height) = height else {
        if present && !section.has("height") {
            section.refuse(
                "height",
                "nothing",
                "a resize needs `height` (and `width`, `shorter`: by default the same)",
            );
        }
        return None;
    };
    let width = width.unwrap_or(height);
    Some(Resize { shorter: shorter.unwrap_or(height.max(width)), height, width, interpolation })
}
