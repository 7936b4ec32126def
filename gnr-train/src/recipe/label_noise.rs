//! The section `[data.label_noise]`: training labels that are wrong on purpose.

use serde::Serialize;

use super::reader::Reader;

/// The section `[data.label_noise]`: wrong training labels, by `rate`, `kind` and `seed`, or from the list in `file`.
/// Without the section, and with `data.label_noise = false`, all labels are the published ones.
///
/// The noise is that of the whole training set. `data.subset` and `data.validation` choose the images that they would
/// choose without noise, and an image has one label in every part. Test labels are never noisy.
///
/// The section decides the run: another rate, seed or path of a list makes another run. `gnr eval --split train`,
/// spectra and landscapes of the training loss use the labels of the run; `--set data.label_noise=false` selects the
/// published ones.
///
/// ```
/// use gnr_train::{Recipe, recipe::{NoiseKind, NoiseSource}};
/// let recipe = Recipe::parse("noisy.toml", "noisy", "[data.label_noise]\nrate = 0.4", &[])?;
/// let noise = recipe.data.label_noise.expect("the section is there");
/// assert_eq!(noise.source, NoiseSource::Rate { rate: 0.4, kind: NoiseKind::Symmetric, seed: 0 });
/// # Ok::<(), gnr_train::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelNoise {
    /// The source of the labels: `rate`, `kind` and `seed`, or `file`.
    #[serde(flatten)]
    pub source: NoiseSource,
    /// Whether the validation images have noisy labels, too, as in problems without clean labels. Default false.
    pub validation: bool,
}

/// The source of wrong labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum NoiseSource {
    /// Random labels, by a seed.
    Rate {
        /// Share of the labels of the whole training set that change, in [0, 1). Exactly this share changes, rounded to
        /// whole labels.
        rate: f64,
        /// The wrong class of a label. Default symmetric.
        kind: NoiseKind,
        /// Seed of the choice of labels and of their wrong classes. Default 0.
        seed: u64,
    },
    /// Labels from a list.
    File {
        /// Path of a text or a NumPy array with one label for each image of the whole training set; see
        /// [`gnr_data::Noisy::new`].
        file: String,
    },
}

/// The wrong class that a label becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseKind {
    /// One of the other classes, each with equal probability; see [`gnr_data::NoiseKind::Symmetric`].
    Symmetric,
    /// The next class; for the last class, the first one.
    PairFlip,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Option<LabelNoise> {
    let on = reader.enabled("data.label_noise", false);
    let mut section = reader.keys_of("data.label_noise");
    let rate =
        section.optional_in("rate", |x: &f64| (0.0..1.0).contains(x), "a fraction, must lie in [0, 1)");
    let kind =
        section.choice("kind", &[("symmetric", NoiseKind::Symmetric), ("pairflip", NoiseKind::PairFlip)]);
    let seed = section.optional("seed");
    let file = section.optional_in("file", |path: &String| !path.is_empty(), "must not be empty");
    let validation = section.value("validation", false);
    let listed = section.has("file");
    section.only_for("rate", &rate, !listed, "no `file`: one of the two");
    section.only_for("kind", &kind, !listed, "`rate`, not with `file`");
    section.only_for("seed", &seed, !listed, "`rate`, not with `file`");
    if on && !listed && !section.has("rate") {
        section.refuse("rate", "nothing", "label noise needs `rate` or `file`");
    }
    let seeded = rate.map(|rate| NoiseSource::Rate {
        rate,
        kind: kind.unwrap_or(NoiseKind::Symmetric),
        seed: seed.unwrap_or(0),
    });
    let source = file.map(|file| NoiseSource::File { file }).or(seeded)?;
    on.then_some(LabelNoise { source, validation })
}

impl LabelNoise {
    /// The noise as gnr-data takes it.
    pub(crate) fn noise(&self) -> gnr_data::LabelNoise {
        match &self.source {
            NoiseSource::Rate { rate, kind, seed } => gnr_data::LabelNoise::Rate {
                rate: *rate,
                kind: match kind {
                    NoiseKind::Symmetric => gnr_data::NoiseKind::Symmetric,
                    NoiseKind::PairFlip => gnr_data::NoiseKind::PairFlip,
                },
                seed: *seed,
            },
            NoiseSource::File { file } => gnr_data::LabelNoise::File(file.into()),
        }
    }
}
