//! A step on the batch or on its groups, of one process or of all ranks.

use gnr_core::{Accumulated, Counted, Counter, DataParallel, Shares, Solo, StepReport, collective::cut};
use gnr_nn::{AcrossRanks, Autodiff, BatchOracle, CrossEntropy, MaskSeed, Statistics};

use crate::{
    checkpoint::{self},
    error::{Result, TrainError},
    observer::StepEvent,
    ranks,
    recipe::Perturbation,
};

use super::Trainer;

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    /// The number of images of each rank in piece `index`, where every rank cuts its part of the batch into `pieces`.
    pub(super) fn shares(&self, pieces: usize, index: usize) -> Result<Shares> {
        let (batch, size) = (self.prepared.recipe.train.batch_size, self.team.size());
        self.team
            .shares((0..size).map(|rank| cut(cut(batch, size, rank).len(), pieces, index).len()).collect())
    }

    /// Makes a step. Returns the report, and whether each of this rank's samples was predicted correctly.
    pub(super) fn step(&mut self, batches: &[gnr_nn::Batch<B>]) -> Result<(StepReport, Vec<bool>)> {
        let counter = Counter::default();
        let recipe = &self.prepared.recipe;
        let loss = CrossEntropy { label_smoothing: recipe.train.label_smoothing };
        let (seed, t) = (recipe.train.seed, self.progress.step);
        let local = recipe.parallel.perturbation == Perturbation::Local && self.team.size() > 1;
        let grouped = recipe.method.group.is_some() || local;
        let whole = self.shares(1, 0)?;
        let pieces = if grouped { 1 } else { batches.len() };
        let shares = (0..pieces).map(|index| self.shares(pieces, index)).collect::<Result<Vec<_>>>()?;
        let statistics = if recipe.parallel.sync { Statistics::Shared } else { Statistics::Own };
        // The groups of a rank are numbered after those of the ranks before it, so that no two groups have equal masks.
        let first = if grouped { (self.team.rank() * batches.len()) as u64 } else { 0 };
        let part = |(index, batch): (usize, _)| {
            BatchOracle::new(&self.prepared.model, &self.backend, batch, &self.buffers)
                .with_loss(loss)
                .with_curvature(self.configured.curvature())
                .with_frozen(self.frozen.as_ref())
                .with_masks(MaskSeed::new(seed, t, first + index as u64))
                .with_ranks(shares.get(index).filter(|_| !grouped), statistics)
        };
        let mut parts: Vec<_> = batches.iter().enumerate().map(part).collect();
        let sized = parts.iter_mut().zip(batches).map(|(part, batch)| (part, batch.labels.len()));
        let solo = Shares::even(std::sync::Arc::new(Solo), 1)?;
        let stepped = if grouped {
            let groups = sized.map(|(part, n)| (Counted::with_counter(part, counter.clone()), n));
            self.configured.step(t, &mut self.theta, groups, &whole)
        } else if batches.len() == 1 {
            let spread = sized.map(|(part, n)| (DataParallel::new(part, whole.clone()), n));
            let counted = spread.map(|(part, n)| (Counted::with_counter(part, counter.clone()), n));
            self.configured.step(t, &mut self.theta, counted, &solo)
        } else {
            // Micro-batches are counted one by one, because a product evaluates each of them again.
            let counted = sized.map(|(part, n)| (Counted::with_counter(part, counter.clone()), n));
            Accumulated::new(counted).and_then(|accumulated| {
                let spread = DataParallel::new(accumulated, whole.clone());
                self.configured.step(t, &mut self.theta, [(spread, 1)], &solo)
            })
        };
        let correct: Vec<bool> =
            parts.iter().flat_map(|part| part.correct_rows().unwrap_or_default()).copied().collect();
        drop(parts);
        let (step, epoch) = (t + 1, self.progress.epoch + 1);
        let report = stepped.map_err(|error| match error {
            gnr_core::Error::NonFinite { quantity, value } => {
                let last = checkpoint::last(self.folder.path());
                let checkpoint = last.exists().then_some(last);
                let radii = self.prepared.recipe.method.radii();
                TrainError::Diverged { quantity, value, step, epoch, checkpoint, radii }
            }
            source => TrainError::Step { step, epoch, source },
        })?;
        if self.team.size() > 1 && (grouped || statistics == Statistics::Own) {
            self.buffers.borrow_mut().average(&self.backend, &AcrossRanks::new(&whole))?;
        }
        if local {
            ranks::nothing_remembered::<B>(&self.configured.method.regularizer)?;
        }
        let counts = counter.counts();
        // Every group or micro-batch is evaluated equally often, so that all of them together count as one batch.
        let pieces = batches.len().max(1) as u64;
        self.progress.gradient_evaluations += counts.gradients / pieces as f64;
        self.progress.products += counts.batch_products / pieces as f64;
        self.progress.forward_passes += counts.forwards.div_ceil(pieces);
        Ok((report, correct))
    }

    /// Adds up the correct predictions of all ranks. `flipped` marks this rank's samples whose label is wrong on
    /// purpose; it is empty if there are none. Also returns whether any rank was asked to stop.
    pub(super) fn counted(
        &mut self,
        stepped: Result<(StepReport, Vec<bool>)>,
        flipped: &[bool],
        stop: bool,
    ) -> Result<(StepReport, bool)> {
        let (report, correct) = match stepped {
            Ok((report, correct)) => (Ok(report), correct),
            Err(error) => (Err(error), Vec::new()),
        };
        let count = |marks: &mut dyn Iterator<Item = bool>| marks.filter(|mark| *mark).count() as f64;
        let own = [
            count(&mut correct.iter().copied()),
            count(&mut correct.iter().zip(flipped).map(|(correct, flipped)| *correct && *flipped)),
            count(&mut flipped.iter().copied()),
            f64::from(u8::from(stop)),
        ];
        let (report, all) = self.team.agree_with(report, &own)?;
        let total = |k: usize| all.iter().map(|row| row[k]).sum::<f64>() as u64;
        let sums = &mut self.progress.sums;
        sums.correct += total(0);
        sums.flipped.correct += total(1);
        sums.flipped.images += total(2);
        Ok((report, total(3) > 0))
    }

    pub(super) fn account(&mut self, report: StepReport, images: u64) -> StepEvent {
        let progress = &mut self.progress;
        progress.step += 1;
        progress.batch += 1;
        let sums = &mut progress.sums;
        sums.loss += report.loss * images as f64;
        sums.images += images;
        sums.grad_norm += report.grad_norm;
        for (name, penalty) in report.penalties {
            let (sum, count) = sums.penalties.entry(name.to_owned()).or_default();
            *sum += penalty.value;
            *count += 1;
        }
        StepEvent {
            step: progress.step,
            epoch: progress.epoch + 1,
            step_in_epoch: progress.batch,
            loss: report.loss,
            mean_loss: sums.loss / sums.images as f64,
            mean_accuracy: sums.correct as f64 / sums.images as f64,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
        }
    }
}
