//! The loop: epochs of steps, evaluations, checkpoints.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use gnr_core::{Accumulated, Counted, Counter, DataParallel, Shares, Solo, StepReport, collective::cut};
use gnr_models::{AnyModel, weights};
use gnr_nn::{
    AcrossRanks, Autodiff, BatchOracle, Buffers, CrossEntropy, Frozen, Layout, MaskSeed, Model, ParamVector,
    Statistics,
};

use crate::{
    average::{Source, WeightAverage},
    checkpoint::{self, Content, Extension, Header, Progress, State, Sums},
    data::{Images, upload, upload_groups},
    error::{Result, TrainError},
    evaluate::{Evaluation, evaluate_in},
    folder::RunFolder,
    method::Configured,
    metrics::{EpochMetrics, MetricsLog},
    observer::{BestBy, Observer, Start, StepEvent},
    ranks,
    recipe::{Perturbation, Recipe},
    select::Groups,
    summary::{self, Best, NoiseCount, Summary, VERSION},
    team::Team,
    tensorboard::EventWriter,
};

/// What a run is made of, on the host.
pub(crate) struct Prepared {
    pub(crate) recipe: Recipe,
    pub(crate) images: Images,
    /// What is allowed and hardly meant, in words.
    pub(crate) doubts: Vec<String>,
    pub(crate) model: AnyModel,
    /// θ₀ and the first running statistics.
    pub(crate) initial: Vec<Vec<f64>>,
    /// Where θ₀ came from, when it was a file that was read now.
    pub(crate) weights: Option<weights::Report>,
    /// One mark a parameter, when some are not learned.
    pub(crate) frozen: Option<Vec<bool>>,
    /// The optimiser's groups of the learned parameters.
    pub(crate) groups: Groups,
    pub(crate) classes: usize,
    pub(crate) input: [usize; 3],
}

impl Prepared {
    /// The images in words, and the doubts.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = self.images.describe();
        lines.extend(self.doubts.iter().map(|doubt| format!("warning: {doubt}")));
        lines
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is finished.
    Finished(Box<Summary>),
    /// It was asked to stop; the checkpoint is where it will continue.
    Interrupted {
        /// Steps done.
        step: u64,
        /// Epochs completed.
        epoch: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Parameters and running statistics on a backend from the values of a layout's entries.
pub(crate) fn place<B: Autodiff>(
    backend: &B,
    layout: &Layout,
    values: Vec<Vec<f64>>,
) -> Result<(ParamVector<B>, Buffers<B>)> {
    let (parameters, buffers) = weights::split(layout, values);
    let theta = ParamVector::from_host(backend, layout, &parameters)?;
    let tensors = (layout.buffers().zip(&buffers))
        .map(|(entry, values)| backend.constant(values, &entry.shape))
        .collect::<Result<_, _>>()?;
    Ok((theta, Buffers { tensors }))
}

pub(crate) struct Trainer<'a, B: Autodiff> {
    prepared: &'a Prepared,
    folder: &'a RunFolder,
    team: Team,
    backend: B,
    recipe_text: String,
    configured: Configured<ParamVector<B>>,
    /// The learned parameters.
    theta: ParamVector<B>,
    frozen: Option<Frozen<B>>,
    buffers: RefCell<Buffers<B>>,
    average: Option<WeightAverage<B>>,
    progress: Progress,
    /// Of rank 0.
    logs: Option<(MetricsLog, EventWriter)>,
    /// Lines of the epochs done.
    history: Vec<EpochMetrics>,
}

impl<'a, B: Autodiff + 'static> Trainer<'a, B> {
    /// At the start, or where the folder's last checkpoint is.
    pub(crate) fn new(prepared: &'a Prepared, folder: &'a RunFolder, team: Team, backend: B) -> Result<Self> {
        let layout = prepared.model.layout();
        let steps_per_epoch = prepared.images.train.batches_per_epoch() as u64;
        let mut configured = Configured::new(&prepared.recipe, &prepared.groups, steps_per_epoch)?;
        let recipe_text = prepared.recipe.to_toml()?;
        let last = checkpoint::last(folder.path());
        let file = ranks::last_checkpoint(&team, &last)?;
        let (values, progress) = if let Some(file) = &file {
            let problem =
                |problem: &str| TrainError::Checkpoint { path: last.clone(), problem: problem.into() };
            let header = file.header().ok_or_else(|| problem("not a checkpoint of a run"))?;
            let theirs = Recipe::parse(&last.display().to_string(), "run", &header.recipe, &[])?;
            let mut progress = header.progress.clone();
            let (from, to) = (theirs.train.epochs, prepared.recipe.train.epochs);
            let mut as_long = theirs;
            as_long.train.epochs = to;
            if !same_run(&as_long, &prepared.recipe) || to < progress.epoch {
                return Err(problem("was written by another recipe than the folder's recipe.toml"));
            }
            if from != to {
                progress.extensions.push(Extension { at_epoch: progress.epoch, from, to });
            }
            (file.model(layout)?, progress)
        } else {
            (prepared.initial.clone(), Progress::default())
        };
        let (parameters, statistics) = weights::split(layout, values);
        let frozen = (prepared.frozen.as_deref())
            .map(|mask| Frozen::new(&backend, layout, &parameters, mask))
            .transpose()?;
        let mut theta = ParamVector::from_host(&backend, layout, &parameters)?;
        if let Some(frozen) = &frozen {
            let learned = frozen.learned(theta.tensors().iter().cloned()).collect();
            theta = ParamVector::new(backend.clone(), learned);
        }
        let buffers = Buffers::from_host(&backend, layout, &statistics)?;
        let average = prepared.recipe.train.average.as_ref();
        let mut average = average.map(|average| WeightAverage::new(average, &prepared.model)).transpose()?;
        if let Some(file) = &file {
            file.optimizer(&backend, layout, frozen.as_ref(), configured.method.optimizer.as_mut())?;
            file.regularizers(&backend, layout, frozen.as_ref(), &mut configured.method.regularizer)?;
            if let Some(average) = &mut average {
                file.average(&backend, layout, frozen.as_ref(), average)?;
            }
        }
        let logs = team.lead(|| {
            let (metrics, lines) =
                MetricsLog::open(&folder.file("metrics.jsonl"), progress.step, progress.epoch)?;
            let mut events = EventWriter::create(folder.path())?;
            lines.iter().try_for_each(|line| events.line(line))?;
            Ok(((metrics, events), lines))
        })?;
        let (logs, lines) = logs.unzip();
        let lines =
            team.share_text(|| Ok(serde_json::Value::Array(lines.unwrap_or_default()).to_string()))?;
        let mut history = Vec::new();
        for line in serde_json::from_str::<Vec<serde_json::Value>>(&lines).unwrap_or_default() {
            if line["kind"] == "epoch" {
                history.extend(serde_json::from_value::<EpochMetrics>(line));
            }
        }
        let buffers = RefCell::new(buffers);
        Ok(Self {
            prepared,
            folder,
            team,
            backend,
            recipe_text,
            configured,
            theta,
            frozen,
            buffers,
            average,
            progress,
            logs,
            history,
        })
    }

    pub(crate) fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let recipe = &self.prepared.recipe;
        let steps = self.prepared.images.train.batches_per_epoch() as u64;
        observer.on_start(&Start {
            recipe,
            folder: self.folder.path(),
            data: self.prepared.describe(),
            weights: self.prepared.weights.as_ref(),
            parameters: self.prepared.model.layout().num_parameters(),
            learned: gnr_core::Vector::dim(&self.theta),
            steps_per_epoch: steps,
            step: self.progress.step,
            best_by: self.best_by(),
        });
        if self.progress.step == 0 {
            self.keep()?;
        }
        while self.progress.epoch < recipe.train.epochs {
            let started = Instant::now();
            let finished = self.epoch_steps(steps, observer, stop)?;
            if !finished {
                return self.interrupt(observer);
            }
            self.finish_epoch(started, observer)?;
            // Before `last` moves on: a run that dies in between writes this file again, and misses none.
            self.keep()?;
            let epoch = self.progress.epoch;
            let every = recipe.train.checkpoint_every_epochs;
            if epoch == recipe.train.epochs || (every > 0 && epoch.is_multiple_of(every)) {
                self.save_last(observer)?;
            }
            if self.team.any(stop.load(Ordering::Relaxed))? && epoch < recipe.train.epochs {
                return self.interrupt(observer);
            }
        }
        let summary = self.summary();
        let summary = self.team.agree(summary)?;
        observer.on_end(&summary);
        Ok(Outcome::Finished(Box::new(summary)))
    }

    /// The steps of the current epoch that are left. False when asked to stop on the way.
    fn epoch_steps(&mut self, steps: u64, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool> {
        if self.progress.batch >= steps {
            return Ok(true);
        }
        let train = &self.prepared.recipe.train;
        let loader = &self.prepared.images.train;
        let batches =
            loader.epoch(self.progress.epoch, self.progress.batch as usize).map_err(TrainError::from);
        for batch in self.team.agree(batches)? {
            let placed = batch.map_err(TrainError::from).and_then(|batch| {
                let parts = match self.prepared.recipe.method.group {
                    Some(group) => upload_groups(&self.backend, &batch, group)?,
                    None => upload(&self.backend, &batch, train.micro_batches)?,
                };
                let flipped = self.prepared.images.flipped_in(&batch);
                loader.recycle(batch);
                Ok((parts, flipped))
            });
            let (parts, flipped) = match self.team.agree(placed) {
                Ok(placed) => placed,
                Err(error) => {
                    // The other ranks lose what they did because of an image of this one: nobody has to do it again.
                    if self.team.size() > 1 {
                        self.save_last(observer)?;
                    }
                    return Err(error);
                }
            };
            let stepped = self.step(&parts);
            let (report, stopped) = self.counted(stepped, &flipped, stop.load(Ordering::Relaxed))?;
            let images = train.batch_size as u64;
            if let Some(average) = &mut self.average {
                let epochs_done = self.progress.epoch;
                average.after_step(epochs_done, &self.backend, &self.theta, &self.buffers.borrow())?;
            }
            let event = self.account(report, images);
            if train.log_every_steps.is_some_and(|every| event.step.is_multiple_of(every)) {
                self.log(|metrics| metrics.step(&event))?;
            }
            observer.on_step(&event);
            if stopped || stop.load(Ordering::Relaxed) && self.team.size() == 1 {
                return Ok(false);
            }
            if train.checkpoint_every_steps.is_some_and(|every| event.step.is_multiple_of(every)) {
                self.save_last(observer)?;
            }
        }
        Ok(true)
    }

    /// Writes a line of metrics, and the same to TensorBoard. Every rank comes here; rank 0 writes.
    fn log(&mut self, line: impl FnOnce(&mut MetricsLog) -> Result<serde_json::Value>) -> Result<()> {
        let written = match &mut self.logs {
            Some((metrics, events)) => line(metrics).and_then(|line| events.line(&line)),
            None => Ok(()),
        };
        self.team.agree(written)
    }

    /// Images of each rank in piece `index` of the batch, which every rank cuts into `pieces`.
    fn shares(&self, pieces: usize, index: usize) -> Result<Shares> {
        let (batch, size) = (self.prepared.recipe.train.batch_size, self.team.size());
        self.team
            .shares((0..size).map(|rank| cut(cut(batch, size, rank).len(), pieces, index).len()).collect())
    }

    /// One step. Returns the report, and whether each of this rank's samples was predicted correctly.
    fn step(&mut self, batches: &[gnr_nn::Batch<B>]) -> Result<(StepReport, Vec<bool>)> {
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
        // Groups of a rank are numbered after those of the ranks before it: no two have the same masks.
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
            Accumulated::new(sized).and_then(|accumulated| {
                let spread = DataParallel::new(accumulated, whole.clone());
                let oracle = Counted::with_counter(spread, counter.clone());
                self.configured.step(t, &mut self.theta, [(oracle, 1)], &solo)
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
        // Every group is asked the same: together their answers are those of a whole batch.
        let pieces = if grouped { batches.len().max(1) as u64 } else { 1 };
        self.progress.gradient_evaluations += counts.evaluations().div_ceil(pieces);
        self.progress.products += counts.products.div_ceil(pieces);
        Ok((report, correct))
    }

    /// Adds up what all ranks predicted. `flipped` marks this rank's samples whose label is wrong on purpose; empty: none. Also tells whether any of them was asked to stop.
    fn counted(
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

    fn account(&mut self, report: StepReport, images: u64) -> StepEvent {
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

    /// Evaluates, logs, and keeps the checkpoint if it is the best one.
    fn finish_epoch(&mut self, started: Instant, observer: &mut dyn Observer) -> Result<()> {
        let train_seconds = Some(started.elapsed().as_secs_f64());
        let recipe = &self.prepared.recipe;
        let sums = std::mem::take(&mut self.progress.sums);
        self.progress.epoch += 1;
        let batches = std::mem::take(&mut self.progress.batch).max(1);
        let (epoch, step) = (self.progress.epoch, self.progress.step);
        let due = epoch.is_multiple_of(recipe.train.eval_every) || epoch == recipe.train.epochs;
        if let Some(average) = &mut self.average {
            average.after_epoch(epoch, &self.theta)?;
        }
        let (mut validation, mut test, mut averaged) = (None, None, None);
        if due {
            (validation, test) = self.evaluated(&self.theta, &self.buffers.borrow(), observer)?;
            averaged = self.averaged(observer)?;
        }
        let (average_validation, average_test) = averaged.unzip();
        let (average_validation, average_test) = (average_validation.flatten(), average_test.flatten());
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
            val_loss: validation.as_ref().map(|found| found.loss),
            val_accuracy: validation.as_ref().map(|found| found.accuracy),
            test_loss: test.as_ref().map(|found| found.loss),
            test_accuracy: test.as_ref().map(|found| found.accuracy),
            average_val_accuracy: average_validation.map(|found| found.accuracy),
            average_test_accuracy: average_test.as_ref().map(|found| found.accuracy),
            average_test_loss: average_test.map(|found| found.loss),
            learning_rate: gnr_core::Schedule::at(
                &self.configured.method.learning_rate,
                step.saturating_sub(1),
            ),
            grad_norm: grad_norm / batches as f64,
            penalties: penalties.into_iter().map(|(name, (sum, n))| (name, sum / n as f64)).collect(),
            seconds: started.elapsed().as_secs_f64(),
            train_seconds,
        };
        self.log(|log| log.epoch(&metrics))?;
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
            self.save(&checkpoint::best(self.folder.path()), Content::All)?;
        }
        observer.on_epoch(&metrics);
        self.history.push(metrics);
        Ok(())
    }

    /// Evaluates a network of this run on the validation images, if there are some, and on the test images.
    fn evaluated(
        &self,
        theta: &ParamVector<B>,
        buffers: &Buffers<B>,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Evaluation>, Option<Evaluation>)> {
        let (model, images) = (&self.prepared.model, &self.prepared.images);
        let theta = checkpoint::all_parameters(&self.backend, theta, self.frozen.as_ref())?;
        let mut measure = |loader| {
            let progress = |done, of| observer.on_evaluation(done, of);
            evaluate_in(&self.team, model, &self.backend, &theta, buffers, loader, progress)
        };
        let validation = images.validation.as_ref().map(&mut measure).transpose()?;
        Ok((validation, Some(measure(&images.test)?)))
    }

    /// Evaluates the averaged weights, once there are some: those of `train.average`, or else those that the optimiser keeps (the
    /// schedule-free ones). Those of the last epoch are written.
    #[allow(clippy::type_complexity)]
    fn averaged(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Option<Evaluation>, Option<Evaluation>)>> {
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
        let network = match (&self.average, solution) {
            (Some(average), _) => average.network(&source, &buffers, &mut progress)?,
            (None, Some(theta)) => {
                let statistics = source.statistics_at(&theta, buffers.clone(), &mut progress)?;
                Some((theta, statistics))
            }
            (None, None) => None,
        };
        drop(buffers);
        let Some((theta, buffers)) = network else { return Ok(None) };
        if self.progress.epoch == self.prepared.recipe.train.epochs {
            let path = checkpoint::average(self.folder.path());
            self.save_network(&path, &theta, &buffers, Content::Model)?;
        }
        self.evaluated(&theta, &buffers, observer).map(Some)
    }

    fn best_by(&self) -> BestBy {
        match self.prepared.images.validation {
            Some(_) => BestBy::ValidationAccuracy,
            None => BestBy::TrainLoss,
        }
    }

    fn interrupt(&self, observer: &mut dyn Observer) -> Result<Outcome> {
        let checkpoint = self.save_last(observer)?;
        Ok(Outcome::Interrupted { step: self.progress.step, epoch: self.progress.epoch, checkpoint })
    }

    fn save_last(&self, observer: &mut dyn Observer) -> Result<PathBuf> {
        // A run cannot end without the lines of the epochs that its checkpoint counts.
        let synced = self.logs.as_ref().map_or(Ok(()), |(metrics, _)| metrics.sync());
        let path = checkpoint::last(self.folder.path());
        self.team.agree(synced)?;
        self.team.agree(ranks::same_bits(&self.team, &self.theta, self.progress.step))?;
        self.save(&path, Content::All)?;
        observer.on_checkpoint(&path);
        Ok(path)
    }

    /// Keeps the weights of this epoch if the recipe asks for it.
    fn keep(&self) -> Result<()> {
        let (train, epoch) = (&self.prepared.recipe.train, self.progress.epoch);
        let Some(every) = train.keep_every_epochs else { return Ok(()) };
        if epoch.is_multiple_of(every) || epoch == train.epochs {
            self.save(&checkpoint::kept(self.folder.path(), epoch), Content::Model)?;
        }
        Ok(())
    }

    fn save(&self, path: &std::path::Path, content: Content) -> Result<()> {
        self.save_network(path, &self.theta, &self.buffers.borrow(), content)
    }

    fn save_network(
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

    fn summary(&self) -> Result<Summary> {
        let incomplete = |what: &str| TrainError::Folder {
            path: self.folder.path().to_path_buf(),
            problem: format!("{what} of the last epoch is missing from metrics.jsonl"),
        };
        let last = self.history.last().ok_or_else(|| incomplete("the line"))?;
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
            best: self.progress.best.ok_or_else(|| incomplete("the best checkpoint"))?,
            seconds: self.history.iter().map(|epoch| epoch.seconds).sum(),
            parameters: self.prepared.model.layout().num_parameters(),
            gradient_evaluations: self.progress.gradient_evaluations,
            products: self.progress.products,
            ranks: Some(self.team.size()).filter(|ranks| *ranks > 1),
            version: VERSION,
            commit: summary::commit(),
            extensions: self.progress.extensions.clone(),
            penalties: last.penalties.clone(),
        };
        if self.team.leads() {
            summary.write(&self.folder.file("summary.json"))?;
        }
        Ok(summary)
    }
}

/// Whether two recipes give the same bits: where the files lie, how many threads read them and how often checkpoints are
/// written does not matter.
pub(crate) fn same_run(a: &Recipe, b: &Recipe) -> bool {
    let exact = |recipe: &Recipe| (recipe.deciding(), recipe.train.threads);
    exact(a) == exact(b)
}
