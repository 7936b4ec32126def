//! The average of a run's weights, beside the weights themselves: when it is updated, and the network that it makes.

use gnr_core::{Average as _, Checkpoint, Ema, Swa};
use gnr_data::{Augmentation, Loader, LoaderConfig, Share};
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, Buffers, Frozen, MaskSeed, MeasuredStatistics, Model, ParamVector};

use crate::{
    error::Result,
    recipe::{Average, AverageKind, Train},
};

/// `[train.average]` at work.
pub(crate) struct WeightAverage<B: Autodiff> {
    /// Epochs before the first one that is averaged.
    from_epoch: u64,
    kind: Kind<B>,
}

enum Kind<B: Autodiff> {
    Ema {
        weights: Ema<ParamVector<B>>,
        /// Of models that have some.
        statistics: Option<Ema<ParamVector<B>>>,
    },
    Swa {
        weights: Swa<ParamVector<B>>,
    },
}

/// The parts of an average's state and what entries their vectors have: as the learned parameters, as the buffers.
pub(crate) struct Parts<W> {
    pub(crate) weights: W,
    pub(crate) statistics: Option<W>,
}

impl<B: Autodiff> WeightAverage<B> {
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

    /// After a step of the epoch that follows `epochs_done` epochs.
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

    /// After the epoch that made it `epochs_done`.
    pub(crate) fn after_epoch(&mut self, epochs_done: u64, theta: &ParamVector<B>) -> gnr_core::Result<()> {
        match &mut self.kind {
            Kind::Swa { weights } if epochs_done > self.from_epoch => weights.update(theta),
            _ => Ok(()),
        }
    }

    /// The averaged parameters and running statistics, once there is something to average: those that were averaged
    /// with the weights (EMA), or measured now at the averaged weights (SWA).
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

/// Where statistics are measured: the training images as they are, without augmentation.
///
/// In the order of the run's first epoch, in batches of `train.batch_size`; what is left over at the end is left out,
/// as in training. (Images lie by class in many data sets, and the statistics of a batch of one class are not the
/// data's.)
pub(crate) struct Source<'a, B: Autodiff> {
    pub(crate) model: &'a AnyModel,
    pub(crate) backend: &'a B,
    pub(crate) frozen: Option<&'a Frozen<B>>,
    pub(crate) loader: &'a Loader,
    pub(crate) train: &'a Train,
    /// Steps done: what masks of dropout depend on.
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
        // Every rank goes through all of it: statistics of parts are not those of the batch.
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
