//! Evaluations at the end of an epoch: of the weights and, where the run averages, of the averaged weights.

use gnr_data::Loader;
use gnr_nn::{Autodiff, Buffers, ParamVector};

use crate::{
    average::Source,
    checkpoint::{self, Collapse, Content},
    error::Result,
    evaluate::{Evaluation, evaluate_in},
    metrics::EpochMetrics,
    observer::Observer,
};

use super::Trainer;

/// The evaluations of an epoch; `None` for one that was not made.
#[derive(Default)]
pub(super) struct Evaluations {
    pub(super) validation: Option<Evaluation>,
    pub(super) test: Option<Evaluation>,
    pub(super) average_validation: Option<Evaluation>,
    pub(super) average_test: Option<Evaluation>,
    /// Whether all validation images got the same logits, also with averaged weights. A run without validation images
    /// is judged by its test images.
    pub(super) collapsed: bool,
}

impl Evaluations {
    /// Fills these evaluations into the metrics of their epoch.
    pub(super) fn told(self, line: EpochMetrics) -> EpochMetrics {
        let Self { validation, test, average_validation, average_test, collapsed } = self;
        EpochMetrics {
            val_loss: validation.as_ref().map(|found| found.loss),
            val_accuracy: validation.map(|found| found.accuracy),
            test_loss: test.as_ref().map(|found| found.loss),
            test_accuracy: test.map(|found| found.accuracy),
            average_val_accuracy: average_validation.map(|found| found.accuracy),
            average_test_loss: average_test.as_ref().map(|found| found.loss),
            average_test_accuracy: average_test.map(|found| found.accuracy),
            collapsed,
            ..line
        }
    }
}

impl<B: Autodiff + 'static> Trainer<'_, B> {
    /// Evaluates the last epoch if it has no test accuracy yet. Such an epoch was not the last one when it was trained;
    /// the run then continued with fewer epochs.
    pub(super) fn evaluate_late(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(line) = self.last.take_if(|line| line.test_accuracy.is_none()) else { return Ok(()) };
        let line = self.evaluate(self.progress.epoch, observer)?.told(line);
        self.keep_best(&line)?;
        self.save_last(observer)?;
        // The line comes after the checkpoint: a run that dies in between still lacks the accuracy, and comes here
        // again.
        self.log(|log| log.epoch_again(&line))?;
        self.last = Some(line);
        Ok(())
    }

    /// The evaluations that are due after this epoch. Notes a collapse, and writes the averaged weights if the run ends
    /// here.
    pub(super) fn evaluate(&mut self, epoch: u64, observer: &mut dyn Observer) -> Result<Evaluations> {
        let train = &self.prepared.recipe.train;
        let last = epoch == train.epochs;
        let mut found = Evaluations::default();
        if !last && !epoch.is_multiple_of(train.eval_every) {
            return Ok(found);
        }
        let later = train.test_only_at_end && !last && self.prepared.images.validation.is_some();
        let average = self.averaged(observer)?;
        if let Some(images) = &self.prepared.images.validation {
            (found.validation, found.average_validation) = self.both(average.as_ref(), images, observer)?;
        }
        if !later {
            let images = &self.prepared.images.test;
            (found.test, found.average_test) = self.both(average.as_ref(), images, observer)?;
        }
        // A collapse is judged by the images of every evaluation, so that `test_only_at_end` decides nothing.
        let judging = match &found.validation {
            Some(_) => [&found.validation, &found.average_validation],
            None => [&found.test, &found.average_test],
        };
        found.collapsed = judging.into_iter().flatten().all(|found| found.collapsed);
        self.progress.collapse = found.collapsed.then(|| Collapse::again(self.progress.collapse, epoch));
        if self.ended() {
            if later {
                let images = &self.prepared.images.test;
                (found.test, found.average_test) = self.both(average.as_ref(), images, observer)?;
            }
            if let Some((theta, buffers)) = average {
                let path = checkpoint::average(self.folder.path());
                self.save_network(&path, &theta, &buffers, Content::Model)?;
            }
        }
        Ok(found)
    }

    /// Evaluates the weights and the averaged weights, if there are some.
    fn both(
        &self,
        average: Option<&(ParamVector<B>, Buffers<B>)>,
        images: &Loader,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Evaluation>, Option<Evaluation>)> {
        let plain = self.evaluated(&self.theta, &self.buffers.borrow(), images, observer)?;
        let average = average.map(|(theta, buffers)| self.evaluated(theta, buffers, images, observer));
        Ok((Some(plain), average.transpose()?))
    }

    /// Evaluates a network of this run.
    fn evaluated(
        &self,
        theta: &ParamVector<B>,
        buffers: &Buffers<B>,
        images: &Loader,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation> {
        let theta = checkpoint::all_parameters(&self.backend, theta, self.frozen.as_ref())?;
        let progress = |done, of| observer.on_evaluation(done, of);
        evaluate_in(&self.team, &self.prepared.model, &self.backend, &theta, buffers, images, progress)
    }

    /// The averaged weights and their statistics, once there are some: those of `train.average`, or else those of a
    /// schedule-free optimiser.
    fn averaged(&self, observer: &mut dyn Observer) -> Result<Option<(ParamVector<B>, Buffers<B>)>> {
        let solution = self.configured.method.optimizer.solution(&self.theta)?;
        if self.average.is_none() && solution.is_none() {
            return Ok(None);
        }
        let source = Source {
            model: &self.prepared.model,
            backend: &self.backend,
            frozen: self.frozen.as_ref(),
            loader: &self.prepared.images.train,
            train: &self.prepared.recipe.train,
            step: self.progress.step,
        };
        let mut progress = |done, of| observer.on_evaluation(done, of);
        let buffers = self.buffers.borrow();
        match (&self.average, solution) {
            (Some(average), _) => average.network(&source, &buffers, &mut progress),
            (None, Some(theta)) => {
                let statistics = source.statistics_at(&theta, buffers.clone(), &mut progress)?;
                Ok(Some((theta, statistics)))
            }
            (None, None) => Ok(None),
        }
    }
}
