//! Checks that need a backend: whether the method can be built for the model, and whether the model can normalise the
//! smallest piece of a batch that is evaluated on its own.

use gnr_core::{
    Sample,
    registry::{Registered as _, Value},
    regularizer::Esam,
};
use gnr_models::weights;
use gnr_nn::{Autodiff, Buffers, Frozen, MaskSeed, MeasuredStatistics, Model, ParamVector};

use crate::{
    backend::Job,
    error::{Result, TrainError},
    method::Configured,
    recipe::{Perturbation, Recipe},
    trainer::Prepared,
};

/// Number of images of the smallest group or micro-batch, or of a regulariser's sample or selection of it. (All batches
/// are full: an incomplete one is left out of its epoch.)
fn smallest(recipe: &Recipe, ranks: usize) -> usize {
    let whole = recipe.parallel.perturbation == Perturbation::Global && recipe.parallel.sync;
    // Shared statistics are those of the whole batch; otherwise the smallest part is normalised alone.
    let batch = if whole { recipe.train.batch_size } else { recipe.train.batch_size / ranks };
    let piece = match recipe.method.group {
        Some(group) if group < batch => match batch % group {
            0 => group,
            left => left,
        },
        Some(_) => batch,
        None => batch / recipe.train.micro_batches.max(1),
    };
    let fraction = recipe.method.fractions().map(|(_, fraction)| fraction).fold(1.0, f64::min);
    let sampled = Sample::new(fraction, 0).rows(piece).len();
    let global = recipe.parallel.perturbation == Perturbation::Global;
    let scattered = recipe.train.micro_batches > 1 || (ranks > 1 && global && !recipe.parallel.sync);
    let selected = match selected(recipe) {
        // The selection is of the whole batch, and any number of its images may lie in one micro-batch or on one rank.
        Some(share) if share < 1.0 && scattered => 1,
        Some(share) => Esam::<f64>::selects(share, piece),
        None => piece,
    };
    sampled.min(selected)
}

/// The share of the examples that ESAM selects, if the recipe has it.
fn selected(recipe: &Recipe) -> Option<f64> {
    recipe.method.each("gamma").find_map(|(name, gamma)| match gamma {
        Value::Number(gamma) if name == Esam::<f64>::ENTRY.name => Some(*gamma),
        _ => None,
    })
}

/// Refuses, before a run folder is made, a method that does not go with the model, and a run that would have to
/// normalise single values. The latter is found out by a forward pass of one image.
///
/// # Errors
/// The errors of [`Configured::new`]. [`TrainError::Request`], with the layer's name and the keys that make the pieces
/// so small.
///
/// # Cost
/// A forward pass of one image, if the model has running statistics and the smallest piece is one image.
pub(crate) fn check<B: Autodiff + 'static>(prepared: &Prepared, backend: &B, ranks: usize) -> Result<()> {
    let Prepared { recipe, model, initial, input: [channels, height, width], .. } = prepared;
    let layout = model.layout();
    let images = &prepared.images.train;
    let steps = images.batches_per_epoch() as u64;
    Configured::<ParamVector<B>>::new(recipe, &prepared.groups, steps, images.dataset().len())?;
    if layout.num_buffers() == 0 || smallest(recipe, ranks) > 1 {
        return Ok(());
    }
    let (parameters, statistics) = weights::split(layout, initial.clone());
    let mut theta = ParamVector::from_host(backend, layout, &parameters)?;
    let mask = prepared.frozen.as_deref();
    let frozen = mask.map(|mask| Frozen::new(backend, layout, &parameters, mask)).transpose()?;
    if let Some(frozen) = &frozen {
        theta = ParamVector::new(backend.clone(), frozen.learned(theta.tensors().iter().cloned()).collect());
    }
    let buffers = Buffers::from_host(backend, layout, &statistics)?;
    let pixels = vec![0.0; channels * height * width];
    let image = backend.upload(&pixels, &[1, *channels, *height, *width])?;
    let masks = MaskSeed::new(recipe.train.seed, 0, 0);
    let tried =
        MeasuredStatistics::new(buffers).add(model, backend, &theta, frozen.as_ref(), &image, Some(masks));
    tried.map_err(|error| {
        let mut keys = vec![format!("train.batch_size = {}", recipe.train.batch_size)];
        keys.extend((ranks > 1).then(|| format!("{ranks} ranks with statistics of their own")));
        keys.extend(recipe.method.group.map(|group| format!("method.group = {group}")));
        let parts = Some(recipe.train.micro_batches).filter(|parts| *parts > 1);
        keys.extend(parts.map(|parts| format!("train.micro_batches = {parts}")));
        let fractions = recipe.method.fractions();
        keys.extend(fractions.map(|(name, fraction)| format!("method.{name}.batch_fraction = {fraction}")));
        keys.extend(
            selected(recipe).map(|gamma| format!("method.{}.gamma = {gamma}", Esam::<f64>::ENTRY.name)),
        );
        TrainError::Request(format!("{} leave one image to be evaluated alone: {error}", keys.join(", ")))
    })
}

/// Runs [`check`] as a job, on a backend made for it.
pub(crate) struct Check<'a>(pub(crate) &'a Prepared);

impl Job for Check<'_> {
    type Output = Result<()>;

    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Result<()> {
        check(self.0, &backend()?, 1)
    }
}
