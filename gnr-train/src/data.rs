//! From a recipe to loaders over training, validation and test images.

use std::{ops::Range, sync::Arc};

use gnr_data::{
    Batch as HostBatch, Dataset, HoldOut, Keep, Loader, LoaderConfig, Normalization, OpenOptions, Part,
    Views, class_counts, permutation,
};
use gnr_nn::{Autodiff, Batch, MixedLabels};

use crate::{
    error::Result,
    recipe::{Augment, Data, Recipe, Resize, Subset},
};

/// The images of a run.
pub(crate) struct Images {
    pub(crate) train: Loader,
    pub(crate) validation: Option<Loader>,
    pub(crate) test: Loader,
}

impl Images {
    /// # Errors
    /// Files that are missing or damaged, a split or batch size that does not fit.
    pub(crate) fn open(recipe: &Recipe) -> Result<Self> {
        let (data, train) = (&recipe.data, &recipe.train);
        let views = views(data)?;
        let normalization = Normalization::preset(&data.normalization)?;
        let augment = data.variation.augmentation(data.augment);
        let evaluation = |dataset: Arc<dyn Dataset>| {
            let batch = train.eval_batch(dataset.shape());
            let config = LoaderConfig::evaluation(batch, normalization.clone());
            Loader::new(dataset, LoaderConfig { workers: train.workers, ..config })
        };
        let config = LoaderConfig {
            workers: train.workers,
            ..LoaderConfig::training(train.batch_size, train.seed, normalization.clone(), augment)
        };
        Ok(Self {
            train: Loader::new(views.train, config)?,
            validation: views.validation.map(evaluation).transpose()?,
            test: evaluation(views.test)?,
        })
    }

    /// The three views in words.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("train: {}", self.train.dataset().describe())];
        lines.extend(self.validation.iter().map(|loader| format!("val:   {}", loader.dataset().describe())));
        lines.push(format!("test:  {}", self.test.dataset().describe()));
        lines
    }
}

/// Opens a data set and takes the subset and the validation part.
///
/// # Errors
/// As [`Images::open`].
pub(crate) fn views(data: &Data) -> Result<Views> {
    let (info, options) = (gnr_data::find(&data.name)?, options(data));
    // Random crops are cut from the files, not from what they are brought to for evaluation.
    let cropped = data.augment == Augment::RandomResizedCrop && options.resize.is_some();
    let keep = if cropped { Keep::OnDisk } else { options.keep };
    let mut train = info.open(Part::Train, &OpenOptions { keep, ..options.clone() })?;
    if let Some(subset) = data.subset {
        train = part_of(train, subset)?;
    }
    let test = info.open(Part::Test, &options)?;
    Ok(Views::new(train, test, HoldOut::Fraction(data.validation), data.validation_seed)?)
}

/// Opens the test images alone: no training images need be there.
///
/// # Errors
/// As [`Images::open`].
pub(crate) fn test(data: &Data) -> Result<Arc<dyn Dataset>> {
    Ok(gnr_data::find(&data.name)?.open(Part::Test, &options(data))?)
}

fn options(data: &Data) -> OpenOptions {
    let mut options = OpenOptions { dir: data.dir.as_ref().map(Into::into), ..OpenOptions::default() };
    if let Some(resize) = data.resize {
        let Resize { shorter, height, width, interpolation } = resize;
        options.resize =
            Some(gnr_data::Resize { shorter, height, width, interpolation: interpolation.into() });
    }
    options
}

fn part_of(whole: Arc<dyn Dataset>, subset: Subset) -> Result<Arc<dyn Dataset>> {
    let Some(per_class) = subset.per_class else {
        let count = subset.count.unwrap_or_else(|| whole.len());
        return Ok(Arc::new(gnr_data::Subset::sample(whole, count, subset.seed)?));
    };
    // The first of each class in a seeded order, then in the order of the whole set.
    let mut taken = vec![0; whole.classes().len()];
    let mut indices = Vec::new();
    for index in permutation(whole.len(), subset.seed, 0) {
        let label = whole.label(index)?;
        if taken[label] < per_class {
            taken[label] += 1;
            indices.push(index);
        }
    }
    if let Some(class) = class_counts(whole.as_ref())?.iter().position(|&count| count < per_class) {
        // The library's own words for a class that is too small.
        tracing::debug!(class, "class smaller than data.subset.per_class");
        return Ok(Arc::new(gnr_data::Subset::first_per_class(whole, per_class)?));
    }
    indices.sort_unstable();
    let how = format!("{per_class} of each class, seed {}", subset.seed);
    Ok(Arc::new(gnr_data::Subset::new(whole, indices, how)?))
}

/// A batch on the device, cut into `parts` of nearly equal size.
pub(crate) fn upload<B: Autodiff>(backend: &B, batch: &HostBatch, parts: usize) -> Result<Vec<Batch<B>>> {
    let samples = batch.shape[0];
    let parts = parts.clamp(1, samples.max(1));
    upload_ranges(backend, batch, (0..parts).map(|part| part * samples / parts..(part + 1) * samples / parts))
}

/// A batch on the device, cut into groups of `size` images; the last one has what is left.
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
            Ok(Batch { images, labels: batch.labels[range].to_vec(), mixed })
        })
        .collect()
}
