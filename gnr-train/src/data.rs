//! Loaders of training, validation and test images, made from a recipe.

use std::{ops::Range, sync::Arc};

use gnr_data::{
    Augmentation, Batch as HostBatch, Dataset, HoldOut, Keep, Loader, LoaderConfig, Noisy, Normalization,
    OpenOptions, Part, Share, Views, flipped_labels, permutation,
};
use gnr_nn::{Autodiff, Batch, MixedLabels};

use crate::{
    classes,
    error::{Result, TrainError},
    recipe::{Augment, Data, Recipe, Resize, Subset},
    team::Team,
};

/// The images of a run.
pub(crate) struct Images {
    pub(crate) train: Loader,
    pub(crate) validation: Option<Loader>,
    pub(crate) test: Loader,
    /// Whether the label of each training image is wrong on purpose; empty if none is.
    pub(crate) flipped: Vec<bool>,
}

impl Images {
    /// Opens the images. The loaders make this rank's part of each batch.
    ///
    /// # Errors
    /// Missing or damaged files, a split or batch size that does not fit.
    pub(crate) fn open(recipe: &Recipe, team: &Team) -> Result<Self> {
        let (data, train) = (&recipe.data, &recipe.train);
        let views = views(data)?;
        let normalization = Normalization::preset(&data.normalization)?;
        let augment = augmentation(data)?;
        let share = Share::OfEachBatch { index: team.rank(), of: team.size() };
        let evaluation = |dataset: Arc<dyn Dataset>| {
            let batch = train.eval_batch(dataset.shape());
            let config = LoaderConfig::evaluation(batch, normalization.clone());
            Loader::new(dataset, LoaderConfig { workers: train.workers, share, ..config })
        };
        let config = LoaderConfig {
            workers: train.workers,
            share,
            ..LoaderConfig::training(train.batch_size, train.seed, normalization.clone(), augment)
        };
        Ok(Self {
            flipped: flipped_labels(views.train.as_ref())?.unwrap_or_default(),
            train: Loader::new(views.train, config)?,
            validation: views.validation.map(evaluation).transpose()?,
            test: evaluation(views.test)?,
        })
    }

    /// Whether the label of each sample in a training batch is wrong on purpose. In a blended sample the heavier label
    /// counts. Empty where no training image has such a label.
    pub(crate) fn flipped_in(&self, batch: &HostBatch) -> Vec<bool> {
        if self.flipped.is_empty() {
            return Vec::new();
        }
        batch.heavier_indices().iter().map(|index| self.flipped.get(*index) == Some(&true)).collect()
    }

    /// The three views, described in words.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("train: {}", self.train.dataset().describe())];
        lines.extend(self.validation.iter().map(|loader| format!("val:   {}", loader.dataset().describe())));
        lines.push(format!("test:  {}", self.test.dataset().describe()));
        // The validation images are part of the training images, whose warnings cover them.
        for (part, loader) in [("train", &self.train), ("test", &self.test)] {
            let warnings = loader.dataset().warnings();
            lines.extend(warnings.iter().map(|warning| format!("warning: {part}: {warning}")));
        }
        lines
    }
}

/// The random variation of training images, whose crops are scaled by the filter of `[data.resize]`.
///
/// # Errors
/// Operations on colours, where the bytes of the images do not reach 255: these operations would leave the range of the
/// data (a brighter white, an inverted black).
fn augmentation(data: &Data) -> Result<Augmentation> {
    let mut augment = data.variation.augmentation(data.augment);
    if let (Some(crop), Some(resize)) = (&mut augment.crop, data.resize) {
        crop.interpolation = resize.interpolation.into();
    }
    // The usual normalisation divides by the byte of white.
    let white = gnr_data::find(&data.name)?.normalization().white;
    let colours =
        [("data.rand_augment", augment.policy.is_some()), ("data.color_jitter", augment.jitter.is_some())];
    match colours.into_iter().find(|(_, given)| *given) {
        Some((key, _)) if white != 255.0 => Err(TrainError::Request(format!(
            "{key} needs images whose bytes lie in 0..=255, but those of {} lie in 0..={white}: remove the key",
            data.name
        ))),
        _ => Ok(augment),
    }
}

/// Opens a data set and takes the subset and the validation part.
///
/// With label noise the training part has the noisy labels, and the validation part has them if the recipe says so.
/// Both have the images that they would have without noise.
///
/// # Errors
/// The errors of [`Images::open`].
pub(crate) fn views(data: &Data) -> Result<Views> {
    let (info, options) = (gnr_data::find(&data.name)?, options(data));
    // Random crops are cut from the files, not from the images resized for evaluation.
    let cropped = data.augment == Augment::RandomResizedCrop && options.resize.is_some();
    let keep = if cropped { Keep::OnDisk } else { options.keep };
    let train = info.open(Part::Train, &OpenOptions { keep, ..options.clone() })?;
    let test = info.open(Part::Test, &options)?;
    if let Some(difference) =
        classes::difference(("the training images", train.classes()), ("the test images", test.classes()))
    {
        return Err(TrainError::Request(format!(
            "{} and {}: expected the same classes in the same order, since labels are positions in the list of classes; \
             {difference}",
            train.describe(),
            test.describe()
        )));
    }
    let views = |train: Arc<dyn Dataset>| -> Result<Views> {
        let train = match data.subset {
            Some(subset) => part_of(train, subset).map_err(|error| of_key("data.subset", error))?,
            None => train,
        };
        Ok(Views::new(train, test.clone(), HoldOut::Fraction(data.validation), data.validation_seed)?)
    };
    let Some(noise) = &data.label_noise else { return views(train) };
    let noisy = views(Arc::new(Noisy::new(train.clone(), &noise.noise())?))?;
    if noise.validation {
        return Ok(noisy);
    }
    Ok(Views { validation: views(train)?.validation, ..noisy })
}

/// Opens the test images alone; the training images may be missing.
///
/// # Errors
/// The errors of [`Images::open`].
pub(crate) fn test(data: &Data) -> Result<Arc<dyn Dataset>> {
    Ok(gnr_data::find(&data.name)?.open(Part::Test, &options(data))?)
}

fn options(data: &Data) -> OpenOptions {
    let dir = data.dir.as_ref().map(Into::into);
    let mut options = OpenOptions { dir, strict: data.strict, ..OpenOptions::default() };
    if let Some(resize) = data.resize {
        let Resize { shorter, height, width, interpolation } = resize;
        options.resize =
            Some(gnr_data::Resize { shorter, height, width, interpolation: interpolation.into() });
    }
    options
}

/// Turns an error about a number of images into one about the key or flag that gave it.
pub(crate) fn of_key(key: &str, error: TrainError) -> TrainError {
    match error {
        TrainError::Data(gnr_data::DataError::Config { value, reason, .. }) => {
            TrainError::Request(format!("{key} of {value} images: {reason}"))
        }
        other => other,
    }
}

fn part_of(whole: Arc<dyn Dataset>, subset: Subset) -> Result<Arc<dyn Dataset>> {
    let Some(per_class) = subset.per_class else {
        let count = subset.count.unwrap_or_else(|| whole.len());
        return Ok(Arc::new(gnr_data::Subset::sample(whole, count, subset.seed)?));
    };
    // The first images of each class in a seeded order, then put in the order of the whole set.
    let mut taken = vec![0; whole.classes().len()];
    let mut indices = Vec::new();
    for index in permutation(whole.len(), subset.seed, 0) {
        let label = whole.clean_label(index)?;
        if taken[label] < per_class {
            taken[label] += 1;
            indices.push(index);
        }
    }
    if let Some(class) = taken.iter().position(|&count| count < per_class) {
        // This call fails with gnr-data's message about a class that is too small.
        tracing::debug!(class, "class smaller than data.subset.per_class");
        return Ok(Arc::new(gnr_data::Subset::first_per_class(whole, per_class)?));
    }
    indices.sort_unstable();
    let how = format!("{per_class} of each class, seed {}", subset.seed);
    Ok(Arc::new(gnr_data::Subset::new(whole, indices, how)?))
}

/// Copies a batch to the device, cut into `parts` of nearly equal size.
pub(crate) fn upload<B: Autodiff>(backend: &B, batch: &HostBatch, parts: usize) -> Result<Vec<Batch<B>>> {
    let samples = batch.shape[0];
    let parts = parts.clamp(1, samples.max(1));
    upload_ranges(backend, batch, (0..parts).map(|part| part * samples / parts..(part + 1) * samples / parts))
}

/// Copies a batch to the device, cut into groups of `size` images; the last group has what is left.
pub(crate) fn upload_groups<B: Autodiff>(
    backend: &B,
    batch: &HostBatch,
    size: usize,
) -> Result<Vec<Batch<B>>> {
    let samples = batch.shape[0];
    let size = size.max(1);
    let group = |start: usize| start..samples.min(start.saturating_add(size));
    upload_ranges(backend, batch, (0..samples).step_by(size).map(group))
}

fn upload_ranges<B: Autodiff>(
    backend: &B,
    batch: &HostBatch,
    ranges: impl Iterator<Item = Range<usize>>,
) -> Result<Vec<Batch<B>>> {
    let [_, channels, height, width] = batch.shape;
    let image = channels * height * width;
    ranges
        .map(|range| {
            let pixels = &batch.images[range.start * image..range.end * image];
            let shape = [range.len(), channels, height, width];
            let images = backend.upload(pixels, &shape)?;
            let mixed = batch.mixed.as_ref().map(|mixed| MixedLabels {
                labels: mixed.labels[range.clone()].to_vec(),
                weight: mixed.weight,
            });
            let examples: Vec<u64> = batch.indices[range.clone()].iter().map(|&index| index as u64).collect();
            let labels = batch.labels[range].to_vec();
            Ok(Batch::new(images, labels).with_mixed(mixed).with_examples(examples))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(sets: &[&str]) -> Views {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let recipe = Recipe::parse("r.toml", "r", "data.validation = 0.25", &sets).unwrap();
        views(&recipe.data).unwrap()
    }

    /// Pixels, labels and published labels of a view.
    fn all(view: &dyn Dataset) -> (Vec<Vec<u8>>, Vec<usize>, Vec<usize>) {
        let images = (0..view.len()).map(|index| view.image(index).unwrap().pixels.into_owned()).collect();
        let labels = (0..view.len()).map(|index| view.label(index).unwrap()).collect();
        (images, labels, (0..view.len()).map(|index| view.clean_label(index).unwrap()).collect())
    }

    fn recipe(sets: &[&str]) -> Recipe {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Recipe::parse("r.toml", "r", "", &sets).unwrap()
    }

    #[test]
    fn the_filter_of_resize_scales_random_crops_too() {
        let sets = ["data.name=folder", "data.augment=random-resized-crop", "data.resize.height=8"];
        let filter = |more: &str| {
            let recipe = recipe(&[&sets[..], &[more]].concat());
            augmentation(&recipe.data).unwrap().crop.unwrap().interpolation
        };
        assert_eq!(filter("data.resize.interpolation=bicubic"), gnr_data::Interpolation::Bicubic);
        assert_eq!(filter("data.strict=false"), gnr_data::Interpolation::Bilinear);
    }

    #[test]
    fn operations_on_colours_need_whole_bytes() {
        for (set, key) in [
            ("data.rand_augment=true", "data.rand_augment"),
            ("data.color_jitter.brightness=0.4", "data.color_jitter"),
        ] {
            let error = augmentation(&recipe(&[set]).data).unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains("digits lie in 0..=16"), "{error}");
            assert!(augmentation(&recipe(&[set, "data.name=mnist"]).data).is_ok());
        }
    }

    /// Food-101 takes the classes of each part from the part's own list.
    #[test]
    fn parts_with_other_classes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        for name in ["apple/1", "baklava/1", "baklava/2", "cake/1"] {
            write(&format!("images/{name}.jpg"), b"P6 1 1 255 abc");
        }
        write("meta/train.txt", b"apple/1\nbaklava/1\n");
        write("meta/test.txt", b"baklava/2\ncake/1\n");
        let dir = format!("data.dir={:?}", folder.path().display().to_string());
        let error = views(&recipe(&["data.name=food101", &dir]).data).err().unwrap().to_string();
        let told = "class 0 is `apple` in the training images, but `baklava` in the test images";
        assert!(error.ends_with(told), "{error}");
    }

    #[test]
    fn noise_changes_no_image_of_any_part_and_no_test_label() {
        for subset in
            [&[][..], &["data.subset.count=300"], &["data.subset.per_class=20", "data.subset.seed=4"]]
        {
            let clean = opened(subset);
            for validation in [false, true] {
                let validates = format!("data.label_noise.validation={validation}");
                let noisy = opened(&[subset, &["data.label_noise.rate=0.5", &validates]].concat());
                let (before, after) = (all(&*clean.train), all(&*noisy.train));
                assert_eq!((&before.0, &before.1), (&after.0, &after.2));
                assert_ne!(before.1, after.1);
                let (before, after) =
                    (all(&*clean.validation.clone().unwrap()), all(&*noisy.validation.unwrap()));
                assert_eq!((&before.0, &before.1), (&after.0, &after.2));
                assert_eq!(before.1 != after.1, validation);
                assert_eq!(all(&*clean.test), all(&*noisy.test));
            }
        }
    }
}
