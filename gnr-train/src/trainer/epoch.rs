//! The end of an epoch: metrics, the best weights.

use std::time::Duration;

use gnr_nn::Autodiff;

use crate::{
    checkpoint::{self, Content, Sums},
    error::Result,
    metrics::EpochMetrics,
    observer::{BestBy, Observer},
    summary::Best,
};

use super::Trainer;

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    /// Evaluates, logs, and keeps the checkpoint if it is the best one.
    pub(super) fn finish_epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let started = self.started;
        // The share of exchanges needs the time of the same steps, and only those of this process are known.
        let alone = self.team.size() == 1;
        let train_seconds = Some(if alone { started.seconds() } else { started.seconds_here() });
        let (exchange_seconds, exchange_seconds_least) = self.exchanged_since(started.exchanging)?.unzip();
        let sums = std::mem::take(&mut self.progress.sums);
        self.progress.epoch += 1;
        let batches = std::mem::take(&mut self.progress.batch).max(1);
        let (epoch, step) = (self.progress.epoch, self.progress.step);
        if let Some(average) = &mut self.average {
            average.after_epoch(epoch, &self.theta)?;
        }
        let found = self.evaluate(epoch, observer)?;
        let Sums { loss, correct, images, grad_norm, penalties, flipped } = sums;
        let share = |correct: u64, images: u64| (images > 0).then(|| correct as f64 / images as f64);
        let noise = self.prepared.recipe.data.label_noise.is_some();
        let metrics = EpochMetrics {
            epoch,
            step,
            train_loss: loss / images as f64,
            train_accuracy: correct as f64 / images as f64,
            train_accuracy_flipped: share(flipped.correct, flipped.images),
            train_accuracy_untouched: share(correct - flipped.correct, images - flipped.images)
                .filter(|_| noise),
            val_loss: None,
            val_accuracy: None,
            test_loss: None,
            test_accuracy: None,
            average_val_accuracy: None,
            average_test_accuracy: None,
            average_test_loss: None,
            collapsed: false,
            learning_rate: gnr_core::Schedule::at(
                &self.configured.method.learning_rate,
                step.saturating_sub(1),
            ),
            grad_norm: grad_norm / batches as f64,
            penalties: penalties.into_iter().map(|(name, (sum, n))| (name, sum / n as f64)).collect(),
            seconds: started.seconds(),
            train_seconds,
            exchange_seconds,
            exchange_seconds_least,
        };
        let metrics = found.told(metrics);
        self.log(|log| log.epoch(&metrics))?;
        self.keep_best(&metrics)?;
        observer.on_epoch(&metrics);
        self.times.add(&metrics);
        self.last = Some(metrics);
        Ok(())
    }

    /// Keeps the checkpoint if it is the best one so far. The next last checkpoint makes it `best.safetensors`.
    pub(super) fn keep_best(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let epoch = metrics.epoch;
        let candidate = match self.best_by() {
            BestBy::ValidationAccuracy => metrics.val_accuracy.map(|value| (value, value)),
            BestBy::TrainLoss => Some((metrics.train_loss, -metrics.train_loss)),
        };
        let incumbent = self.progress.best.map(|best| match best.by {
            BestBy::ValidationAccuracy => best.value,
            BestBy::TrainLoss => -best.value,
        });
        if let Some((value, score)) = candidate
            && incumbent.is_none_or(|incumbent| score > incumbent)
        {
            let test_accuracy = metrics.test_accuracy;
            self.progress.best = Some(Best { by: self.best_by(), value, epoch, test_accuracy });
            self.save(&checkpoint::pending_best(self.folder.path()), Content::All)?;
        }
        Ok(())
    }

    /// Seconds that ranks spent in exchanges since `before`: the mean over the ranks, and the least of any rank. `None`
    /// for a process by itself.
    fn exchanged_since(&self, before: Duration) -> Result<Option<(f64, f64)>> {
        if self.team.size() == 1 {
            return Ok(None);
        }
        let own = (self.team.exchanging() - before).as_secs_f64();
        let (_, all) = self.team.agree_with(Ok(()), &[own])?;
        let seconds = || all.iter().map(|row| row[0]);
        Ok(Some((seconds().sum::<f64>() / all.len() as f64, seconds().fold(own, f64::min))))
    }

    pub(super) fn best_by(&self) -> BestBy {
        match self.prepared.images.validation {
            Some(_) => BestBy::ValidationAccuracy,
            None => BestBy::TrainLoss,
        }
    }
}
