//! The files of a run beside its logs: checkpoints, weights that are kept, the summary.

use std::path::PathBuf;

use gnr_nn::{Autodiff, Buffers, Model, ParamVector};

use crate::{
    backend,
    checkpoint::{self, Content, Header, State},
    elapsed::Elapsed,
    error::{Result, TrainError},
    observer::Observer,
    ranks,
    summary::{self, NoiseCount, Summary, VERSION},
};

use super::{Outcome, Prepared, Trainer};

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    pub(super) fn interrupt(&self, observer: &mut dyn Observer) -> Result<Outcome> {
        let checkpoint = self.save_last(observer)?;
        Ok(Outcome::Interrupted { step: self.progress.step, epoch: self.progress.epoch, checkpoint })
    }

    pub(super) fn save_last(&self, observer: &mut dyn Observer) -> Result<PathBuf> {
        // The lines of all epochs that a checkpoint counts must be on the disk before it.
        let synced = self.logs.as_ref().map_or(Ok(()), |(metrics, _)| metrics.sync());
        let path = checkpoint::last(self.folder.path());
        self.team.agree(synced)?;
        self.team.agree(ranks::same_bits(&self.team, &self.theta, self.progress.step))?;
        self.save(&path, Content::All)?;
        // At the end of an epoch its time is in the log.
        let seconds = if self.progress.batch > 0 { self.started.seconds() } else { 0.0 };
        self.team.lead(|| {
            checkpoint::promote_best(self.folder.path())?;
            Elapsed::new(self.progress.step, seconds).write(self.folder.path())
        })?;
        observer.on_checkpoint(&path);
        Ok(path)
    }

    /// Keeps the weights of this epoch if the recipe asks for it.
    pub(super) fn keep(&self) -> Result<()> {
        let (train, epoch) = (&self.prepared.recipe.train, self.progress.epoch);
        let Some(every) = train.keep_every_epochs else { return Ok(()) };
        if epoch.is_multiple_of(every) || self.ended() {
            self.save(&checkpoint::kept(self.folder.path(), epoch), Content::Model)?;
        }
        Ok(())
    }

    pub(super) fn save(&self, path: &std::path::Path, content: Content) -> Result<()> {
        self.save_network(path, &self.theta, &self.buffers.borrow(), content)
    }

    pub(super) fn save_network(
        &self,
        path: &std::path::Path,
        theta: &ParamVector<B>,
        buffers: &Buffers<B>,
        content: Content,
    ) -> Result<()> {
        let state = State {
            layout: self.prepared.model.layout(),
            theta,
            frozen: self.frozen.as_ref(),
            buffers,
            optimizer: self.configured.method.optimizer.as_ref(),
            regularizers: &self.configured.method.regularizer,
            average: self.average.as_ref(),
        };
        let Prepared { classes, input, .. } = *self.prepared;
        let header = Header::new(classes, input, self.progress.clone(), self.recipe_text.clone());
        let precision = self.prepared.recipe.train.precision;
        self.team.lead(|| state.save(path, &self.backend, &header, precision, content)).map(drop)
    }

    pub(super) fn summary(&self) -> Result<Summary> {
        let incomplete = |what: &str| TrainError::Folder {
            path: self.folder.path().to_path_buf(),
            problem: format!(
                "{what} of the last epoch is missing from metrics.jsonl, and a summary is made of it; `gnr eval` measures the run's checkpoints"
            ),
        };
        let last = self.last.as_ref().ok_or_else(|| incomplete("the line"))?;
        let summary = Summary {
            finished: true,
            name: self.prepared.recipe.name.clone(),
            method: self.prepared.recipe.method_name(),
            epochs: self.progress.epoch,
            steps: self.progress.step,
            train_loss: last.train_loss,
            train_accuracy: last.train_accuracy,
            train_accuracy_flipped: last.train_accuracy_flipped,
            train_accuracy_untouched: last.train_accuracy_untouched,
            label_noise: self.prepared.recipe.data.label_noise.clone().map(|asked| {
                let images = &self.prepared.images;
                let flipped = images.flipped.iter().filter(|flipped| **flipped).count() as u64;
                NoiseCount { asked, flipped, of: images.train.dataset().len() as u64 }
            }),
            val_accuracy: last.val_accuracy,
            test_accuracy: last.test_accuracy.ok_or_else(|| incomplete("the test accuracy"))?,
            test_loss: last.test_loss.ok_or_else(|| incomplete("the test loss"))?,
            average_val_accuracy: last.average_val_accuracy,
            average_test_accuracy: last.average_test_accuracy,
            average_test_loss: last.average_test_loss,
            collapsed_at_epoch: self.progress.collapse.map(|collapse| collapse.at_epoch),
            best: self.progress.best.ok_or_else(|| incomplete("the best checkpoint"))?,
            seconds: self.times.all,
            parameters: self.prepared.model.layout().num_parameters(),
            gradient_evaluations: self.progress.gradient_evaluations,
            products: self.progress.products,
            forward_passes: self.progress.forward_passes,
            ranks: Some(self.team.size()).filter(|ranks| *ranks > 1),
            exchange_share: self.times.exchange_share(),
            version: VERSION,
            commit: self.progress.commits.last().cloned().or_else(|| summary::commit().map(str::to_owned)),
            earlier_commits: self
                .progress
                .commits
                .split_last()
                .map_or_else(Vec::new, |(_, all)| all.to_vec()),
            extensions: self.progress.extensions.clone(),
            device: self.prepared.recipe.train.device.to_string(),
            library: backend::library(self.prepared.recipe.train.place()),
            precision: self.prepared.recipe.train.precision,
            moves: self.progress.moves.clone(),
            penalties: last.penalties.clone(),
        };
        if self.team.leads() {
            summary.write(&self.folder.file("summary.json"))?;
        }
        Ok(summary)
    }
}
