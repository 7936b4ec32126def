//! The average of a run's weights, beside the weights themselves: its updates, and the network that it makes.

use gnr_core::{Average as _, Checkpoint, Ema, Swa};
use gnr_data::{Augmentation, Loader, LoaderConfig, Share};
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, Buffers, Frozen, MaskSeed, MeasuredStatistics, Model, ParamVector};

use crate::{
    error::Result,
    recipe::{Average, AverageKind, Train},
};

/// The average that `[train.average]` asks for.
pub(crate) struct WeightAverage<B: Autodiff> {
    /// Number of epochs before the first one that is averaged.
    from_epoch: u64,
    kind: Kind<B>,
}

enum Kind<B: Autodiff> {
    Ema {
        weights: Ema<ParamVector<B>>,
        /// The average of the running statistics, for models that have some.
        statistics: Option<Ema<ParamVector<B>>>,
    },
    Swa {
        weights: Swa<ParamVector<B>>,
    },
}

/// The parts of an average's state. `weights` has the entries of the learned parameters, `statistics` those of the
/// buffers.
pub(crate) struct Parts<W> {
    pub(crate) weights: W,
    pub(crate) statistics: Option<W>,
}

impl<B: Autodiff> WeightAverage<B> {
    /// The average of a recipe, before any update.
    ///
    /// # Errors
    /// A decay outside (0, 1) (a recipe that was not checked).
    pub(crate) fn new(recipe: &Average, model: &AnyModel) -> gnr_core::Result<Self> {
        let kind = match recipe.kind {
            AverageKind::Swa => Kind::Swa { weights: Swa::new() },
            AverageKind::Ema => {
                let decay = recipe.decay.unwrap_or(0.999);
                let has_statistics = model.layout().num_buffers() > 0;
                let statistics = has_statistics.then(|| Ema::new(decay)).transpose()?;
                Kind::Ema { weights: Ema::new(decay)?, statistics }
            }
        };
        Ok(Self { from_epoch: recipe.from_epoch, kind })
    }

    /// Updates an EMA after a step of the epoch that follows `epochs_done` epochs.
    pub(crate) fn after_step(
        &mut self,
        epochs_done: u64,
        backend: &B,
        theta: &ParamVector<B>,
        buffers: &Buffers<B>,
    ) -> gnr_core::Result<()> {
        if epochs_done < self.from_epoch {
            return Ok(());
        }
        if let Kind::Ema { weights, statistics } = &mut self.kind {
            weights.update(theta)?;
            if let Some(statistics) = statistics {
                statistics.update(&ParamVector::new(backend.clone(), buffers.tensors.clone()))?;
            }
        }
        Ok(())
    }

    /// Updates an SWA after an epoch, which `epochs_done` includes.
    pub(crate) fn after_epoch(&mut self, epochs_done: u64, theta: &ParamVector<B>) -> gnr_core::Result<()> {
        match &mut self.kind {
            Kind::Swa { weights } if epochs_done > self.from_epoch => weights.update(theta),
            _ => Ok(()),
        }
    }

    /// The averaged parameters and running statistics, or `None` before the first update. Statistics were averaged with
    /// the weights (EMA), or are now measured at the averaged weights (SWA).
    pub(crate) fn network(
        &self,
        source: &Source<'_, B>,
        buffers: &Buffers<B>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Option<(ParamVector<B>, Buffers<B>)>> {
        match &self.kind {
            Kind::Ema { weights, statistics } => {
                let statistics = match statistics {
                    Some(statistics) => statistics.mean().map(|mean| mean.tensors().to_vec()),
                    None => Some(Vec::new()),
                };
                let mean = weights.mean().cloned().zip(statistics);
                Ok(mean.map(|(theta, tensors)| (theta, Buffers { tensors })))
            }
            Kind::Swa { weights } => {
                let Some(theta) = weights.mean() else { return Ok(None) };
                let statistics = source.statistics_at(theta, buffers.clone(), progress)?;
                Ok(Some((theta.clone(), statistics)))
            }
        }
    }

    pub(crate) fn state(&self) -> Parts<&dyn Checkpoint<ParamVector<B>>> {
        match &self.kind {
            Kind::Ema { weights, statistics } => {
                Parts { weights, statistics: statistics.as_ref().map(|statistics| statistics as _) }
            }
            Kind::Swa { weights } => Parts { weights, statistics: None },
        }
    }

    pub(crate) fn state_mut(&mut self) -> Parts<&mut dyn Checkpoint<ParamVector<B>>> {
        match &mut self.kind {
            Kind::Ema { weights, statistics } => {
                Parts { weights, statistics: statistics.as_mut().map(|statistics| statistics as _) }
            }
            Kind::Swa { weights } => Parts { weights, statistics: None },
        }
    }
}

/// Batches for measuring statistics: the training images without augmentation.
///
/// They come in the order of the run's first epoch, in batches of `train.batch_size`; an incomplete last batch is left
/// out, as in training. (Images lie by class in many data sets, and the statistics of a batch of one class are not the
/// data's.)
pub(crate) struct Source<'a, B: Autodiff> {
    pub(crate) model: &'a AnyModel,
    pub(crate) backend: &'a B,
    pub(crate) frozen: Option<&'a Frozen<B>>,
    pub(crate) loader: &'a Loader,
    pub(crate) train: &'a Train,
    /// Number of steps done, from which the masks of dropout are drawn.
    pub(crate) step: u64,
}

impl<B: Autodiff> Source<'_, B> {
    pub(crate) fn statistics_at(
        &self,
        theta: &ParamVector<B>,
        buffers: Buffers<B>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Buffers<B>> {
        if buffers.tensors.is_empty() {
            return Ok(buffers);
        }
        // Every rank reads all images: statistics of parts are not those of the batch.
        let share = Share::Whole;
        let config = LoaderConfig { augment: Augmentation::NONE, share, ..self.loader.config().clone() };
        let loader = Loader::new(self.loader.dataset().clone(), config)?;
        let mut measured = MeasuredStatistics::new(buffers);
        let mut done = 0;
        for (index, batch) in (0..).zip(loader.epoch(0, 0)?) {
            let batch = batch?;
            let images = self.backend.upload(&batch.images, &batch.shape)?;
            let masks = MaskSeed::new(self.train.seed, self.step, index);
            measured.add(self.model, self.backend, theta, self.frozen, &images, Some(masks))?;
            done += batch.len();
            loader.recycle(batch);
            progress(done, loader.dataset().len());
        }
        Ok(measured.into_buffers())
    }
}
