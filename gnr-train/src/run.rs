//! Starting and continuing of runs.

use std::{path::Path, sync::atomic::AtomicBool};

use gnr_models::{
    AnyModel, ModelConfig,
    weights::{self, Options, Policy, WeightFile},
};
use gnr_nn::{Autodiff, Model};

use crate::{
    atomic::write_atomically,
    backend::{self, Job},
    checkpoint,
    data::Images,
    doubts,
    error::{Result, TrainError, io},
    fingerprint::Fingerprints,
    folder::{RunFolder, is_run, recipe_of, refuse_existing},
    identity::{differences, moved},
    method::learning_rate,
    observer::Observer,
    pieces,
    pool::{in_pool, threads},
    ranks,
    recipe::{Load, Model as ModelSection, Recipe, Train as TrainSection},
    select,
    team::Team,
    trainer::{Outcome, Prepared, Trainer},
};

/// The behaviour when the run folder already holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The run is refused, and nothing is overwritten.
    Refuse,
    /// The run is continued, if its recipe is equal and its images are those with which it began.
    Resume,
    /// The run is continued even if the recipe or the images differ, as far as the fields allow.
    ResumeChanged {
        /// Whether the recipe may have more epochs; see [`extended`].
        epochs: bool,
        /// Whether the images may differ from those with which the run began.
        data: bool,
    },
}

impl Existing {
    fn resumes(self) -> bool {
        self != Self::Refuse
    }

    fn allows_epochs(self) -> bool {
        matches!(self, Self::ResumeChanged { epochs: true, .. })
    }

    fn allows_data(self) -> bool {
        matches!(self, Self::ResumeChanged { data: true, .. })
    }
}

/// Trains by `recipe` in the run folder `folder`, on the backend, device and precision of the recipe.
///
/// Data, model and initial weights are opened and checked before the folder is made. Setting `stop` (from a signal
/// handler, another thread) ends the run after the current step with a checkpoint.
///
/// # Errors
/// Any [`TrainError`]. A run that fails leaves its last checkpoint untouched.
///
/// ```no_run
/// use gnr_train::{Existing, Outcome, Recipe, train};
/// use std::{path::Path, sync::atomic::AtomicBool};
///
/// let folder = Path::new("runs/digits-1");
/// let outcome = train(Recipe::default(), folder, Existing::Refuse, &mut (), &AtomicBool::new(false))?;
/// if let Outcome::Finished(summary) = outcome {
///     println!("{:.1} %", 100.0 * summary.test_accuracy);
/// }
/// # Ok::<(), gnr_train::TrainError>(())
/// ```
pub fn train(
    recipe: Recipe,
    folder: &Path,
    existing: Existing,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome> {
    train_in(&Team::default(), recipe, folder, existing, observer, stop)
}

/// Trains like [`train`], together with the other ranks of a team: each has its part of every batch. Rank 0 has the
/// folder and calls `observer`. The other ranks use no file of the folder and call no observer.
///
/// # Errors
/// The errors of [`train`], equal on every rank; ranks whose recipes, programs or data differ.
pub fn train_in(
    team: &Team,
    recipe: Recipe,
    folder: &Path,
    existing: Existing,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome> {
    let silent: &mut (dyn Observer + Send) = &mut ();
    let observer = if team.leads() { observer } else { silent };
    let team = team.clone();
    let place = recipe.train.place();
    let job = Train { team: team.clone(), recipe, folder, existing, observer, stop };
    team.ends(backend::dispatch(place, job).flatten())
}

/// Trains like [`train`], on a backend of the caller's choice. `backend` is called on the thread that will use its
/// result.
///
/// # Errors
/// The errors of [`train`].
pub fn train_on<B: Autodiff + 'static>(
    backend: impl FnOnce() -> B + Send,
    recipe: Recipe,
    folder: &Path,
    existing: Existing,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome> {
    Train { team: Team::default(), recipe, folder, existing, observer, stop }.on(|| Ok(backend()))
}

/// Continues the run in `folder` to its end. The result equals that of a run that never stopped, bit for bit.
///
/// # Errors
/// The errors of [`train`]; a folder without a run.
pub fn resume(folder: &Path, observer: &mut (dyn Observer + Send), stop: &AtomicBool) -> Result<Outcome> {
    train(recipe_of(folder)?, folder, Existing::Resume, observer, stop)
}

/// The recipe of the run in `folder` with more epochs, and the effect on the learning rate in words. [`train`]
/// continues the run with this recipe by [`Existing::ResumeChanged`].
///
/// # Errors
/// A folder without a run; assignments that change a deciding key other than `train.epochs`, device and backend; fewer
/// epochs than are done.
pub fn extended(folder: &Path, assignments: &[String]) -> Result<(Recipe, String)> {
    let before = recipe_of(folder)?;
    let mut after = Recipe::load(&folder.join("recipe.toml"), assignments)?;
    keep_threads(&mut after, &before);
    let as_long = Recipe {
        train: TrainSection { epochs: before.train.epochs, ..after.train.clone() },
        ..after.clone()
    };
    let keys = differences(&before, &as_long);
    if !keys.is_empty() {
        return Err(TrainError::Request(format!(
            "{}: a run that continues can change train.epochs, train.device and train.backend, and what decides nothing (workers, \
             checkpoints, train.test_only_at_end, data.dir); for another recipe start another run",
            keys.join(", ")
        )));
    }
    let last = checkpoint::last(folder);
    let file = if last.exists() { Some(checkpoint::CheckpointFile::read(&last)?) } else { None };
    let progress = file.as_ref().and_then(|file| file.header()).map(|header| &header.progress);
    let (done, within) = progress.map_or((0, false), |progress| (progress.epoch, progress.batch > 0));
    let (old, new) = (before.train.epochs, after.train.epochs);
    if new < done || (new == done && within) {
        let part = if within { " and a part of the next" } else { "" };
        return Err(TrainError::Request(format!(
            "train.epochs = {new}: the run has done {done} epochs{part} already"
        )));
    }
    // Schedules are functions of the step. Where no epoch is complete, its length is not known, and any serves that
    // tells the ends of epochs apart.
    let (step, batch) = progress.map_or((0, 0), |progress| (progress.step, progress.batch));
    let steps = step.saturating_sub(batch).checked_div(done).unwrap_or(1000);
    let rate = |recipe: &Recipe| Ok::<_, TrainError>(learning_rate(recipe, steps)?.at(step));
    let words = format!(
        "{new} epochs instead of {old}, {done} of them done; the learning rate of the next step is {:.3e}, where the old schedule has {:.3e}",
        rate(&after)?,
        rate(&before)?
    );
    Ok((after, words))
}

/// Leaves a number of threads that is not set at that of the run which continues.
fn keep_threads(recipe: &mut Recipe, of_run: &Recipe) {
    if recipe.train.threads == 0 {
        recipe.train.threads = of_run.train.threads;
    }
}

struct Train<'a> {
    team: Team,
    recipe: Recipe,
    folder: &'a Path,
    existing: Existing,
    observer: &'a mut (dyn Observer + Send),
    stop: &'a AtomicBool,
}

impl Train<'_> {
    /// Finds out whether the run resumes and whether it starts at its initial weights; all ranks agree on both. Sets
    /// the number of threads.
    fn look(&mut self) -> Result<(bool, bool)> {
        let Self { team, recipe, folder, existing, .. } = self;
        ranks::same_recipe(team, recipe)?;
        team.agree(ranks::can_share_batches(recipe, team.size()))?;
        // Only rank 0 sees the folder: what it finds there holds for all ranks.
        let found = team.share(|| {
            let resumes = existing.resumes() && is_run(folder);
            if resumes {
                let theirs = recipe_of(folder)?;
                keep_threads(recipe, &theirs);
                let epochs = if existing.allows_epochs() { theirs.train.epochs } else { recipe.train.epochs };
                let as_long =
                    Recipe { train: TrainSection { epochs, ..recipe.train.clone() }, ..recipe.clone() };
                let keys = differences(&theirs, &as_long);
                if !keys.is_empty() {
                    return Err(TrainError::Folder {
                        path: folder.to_path_buf(),
                        problem: format!(
                            "holds a run of another recipe, which differs in {} (compare its recipe.toml); continue it as it is, or start \
                             another run in another folder",
                            keys.join(", ")
                        ),
                    });
                }
            } else {
                refuse_existing(folder)?;
            }
            // A run with a checkpoint does not need its initial weights.
            let starts = !(resumes && checkpoint::last(folder).exists());
            let threads = recipe.train.threads;
            Ok([vec![u8::from(resumes), u8::from(starts)], threads.to_le_bytes().to_vec()].concat())
        })?;
        let (resumes, starts) = (found.first() == Some(&1), found.get(1) == Some(&1));
        if let Some(Ok(threads)) = found.get(2..).map(<[u8; size_of::<usize>()]>::try_from) {
            recipe.train.threads = usize::from_le_bytes(threads);
        }
        if recipe.train.threads == 0 {
            // Every rank gets the same number of threads, because the bits of sums may depend on the number.
            let own = team.threads(threads(0)) as f64;
            let all = team.agree_with(Ok(()), &[own])?.1;
            recipe.train.threads = all.iter().fold(own, |least, row| least.min(row[0])) as usize;
        }
        Ok((resumes, starts))
    }

    /// Data, model and initial weights, with all doubts, and the fingerprints of the images. Refuses images that are
    /// not those that the run began with.
    fn prepare(&self, resumes: bool, starts: bool) -> Result<(Prepared, Fingerprints)> {
        let Self { team, recipe, folder, existing, .. } = self;
        let mut prepared = team.agree(prepare(recipe.clone(), starts, team))?;
        if let Some(words) = team
            .lead(|| Ok(if resumes { moved(&recipe_of(folder)?, &prepared.recipe) } else { None }))?
            .flatten()
        {
            prepared.doubts.push(words);
        }
        if team.leads() && resumes && !starts && !Fingerprints::are_recorded(folder) {
            prepared.doubts.push(
                "data.json, which records what the images were, is not there: whether they changed is not known".into(),
            );
        }
        let fingerprints = team.agree(Fingerprints::of(&prepared.images))?;
        ranks::same_data(team, &fingerprints)?;
        team.lead(|| {
            if resumes
                && let Some(changed) = fingerprints.changed(folder)?
                && !existing.allows_data()
            {
                return Err(TrainError::Folder {
                    path: folder.to_path_buf(),
                    problem: format!(
                        "the data changed since the run began: {changed}. Bring the old data back, start another run, or continue on \
                         the new data with `gnr resume --accept-changed-data`"
                    ),
                });
            }
            Ok(())
        })?;
        Ok((prepared, fingerprints))
    }

    /// Opens or makes the run's folder on rank 0, with the files that a run writes when it begins.
    fn open(&self, resumes: bool, prepared: &Prepared, fingerprints: &Fingerprints) -> Result<RunFolder> {
        let folder = self.team.lead(|| {
            let folder = if resumes {
                RunFolder::open(self.folder)?
            } else {
                RunFolder::create(self.folder, &prepared.recipe)?
            };
            fingerprints.write(folder.path())?;
            if let Some(report) = &prepared.weights {
                let path = folder.file("weights.json");
                let text = serde_json::to_string_pretty(report).map_err(|e| io(&path, "write")(e.into()))?;
                write_atomically(&path, (text + "\n").as_bytes())?;
            }
            Ok(folder)
        })?;
        Ok(folder.unwrap_or_else(|| RunFolder::held_elsewhere(self.folder)))
    }
}

impl Job for Train<'_> {
    type Output = Result<Outcome>;

    fn on<B: Autodiff + 'static>(mut self, backend: impl FnOnce() -> Result<B> + Send) -> Result<Outcome> {
        let (resumes, starts) = self.look()?;
        let (prepared, fingerprints) = self.prepare(resumes, starts)?;
        in_pool(prepared.recipe.train.threads, || {
            let backend = self.team.agree(backend())?;
            if starts {
                self.team.agree(pieces::check(&prepared, &backend, self.team.size()))?;
            }
            let folder = self.open(resumes, &prepared, &fingerprints)?;
            let trainer = Trainer::new(&prepared, &folder, self.team.clone(), backend)?;
            if resumes && self.existing.allows_epochs() {
                // Only now: a run whose checkpoint or log is refused stays as it was.
                self.team.lead(|| folder.extend(&prepared.recipe))?;
            }
            trainer.run(self.observer, self.stop)
        })?
    }
}

/// Checks a recipe against the data and the machine without training: opens the images, builds the model, reads
/// weights.
///
/// # Errors
/// The errors of [`train`].
pub fn check(recipe: Recipe) -> Result<Plan> {
    let prepared = prepare(recipe, true, &Team::default())?;
    backend::dispatch(prepared.recipe.train.place(), pieces::Check(&prepared))??;
    let layout = prepared.model.layout();
    let frozen = |index: usize| prepared.frozen.as_ref().is_some_and(|mask| mask[index]);
    Ok(Plan {
        data: prepared.describe(),
        learned: layout
            .parameters()
            .enumerate()
            .filter(|(i, _)| !frozen(*i))
            .map(|(_, entry)| entry.len())
            .sum(),
        parameters: prepared.model.layout().num_parameters(),
        steps_per_epoch: prepared.images.train.batches_per_epoch() as u64,
        training_images: prepared.images.train.dataset().len(),
        validation_images: prepared.images.validation.as_ref().map(|loader| loader.dataset().len()),
        weights: prepared.weights,
    })
}

/// The findings of [`check`].
#[derive(Clone, Debug)]
pub struct Plan {
    /// The images in words. Doubts about them and the settings begin with `warning: `.
    pub data: Vec<String>,
    /// Report about the file of initial weights, if there is one.
    pub weights: Option<weights::Report>,
    /// Number of scalar parameters of the model.
    pub parameters: usize,
    /// Number d of the parameters that are learned.
    pub learned: usize,
    /// Number of steps of an epoch.
    pub steps_per_epoch: u64,
    /// Number of images that are trained on.
    pub training_images: usize,
    /// Number of images held out for validation; `None` when there are none.
    pub validation_images: Option<usize>,
}

/// Builds the model of a recipe's section.
pub(crate) fn build(section: &ModelSection, classes: usize, input: [usize; 3]) -> Result<AnyModel> {
    Ok(AnyModel::build(&config(section, classes, input)?)?)
}

/// The configuration of a recipe's model, which is not built yet.
pub(crate) fn config(section: &ModelSection, classes: usize, input: [usize; 3]) -> Result<ModelConfig> {
    let mut config = ModelConfig::new(section.name.as_str(), classes, input);
    config.widths.clone_from(&section.widths);
    (config.depth, config.heads, config.patch) = (section.depth, section.heads, section.patch);
    (config.dropout, config.drop_path) = (section.dropout, section.drop_path);
    config.activation = section.activation.as_deref().map(str::parse).transpose()?;
    config.norm = section.norm.as_deref().map(str::parse).transpose()?;
    config.norm_groups = section.norm_groups;
    Ok(config)
}

/// Opens the images and builds the model. `starts` says whether θ₀ is needed, or a checkpoint replaces it.
fn prepare(recipe: Recipe, starts: bool, team: &Team) -> Result<Prepared> {
    let images = Images::open(&recipe, team)?;
    let dataset = images.train.dataset();
    let (classes, input) = (dataset.classes().len(), dataset.shape());
    if let [only] = dataset.classes() {
        return Err(TrainError::Request(format!(
            "{} has one class, `{only}`, whose probability is 1 whatever the weights are: nothing can be learned. Expected at least two \
             classes; look at data.dir",
            dataset.describe()
        )));
    }
    let mut doubts = doubts::of_settings(&recipe);
    let validation = images.validation.as_ref().map(|loader| loader.dataset().as_ref());
    doubts.extend(doubts::of_steps(&recipe, images.train.batches_per_epoch() as u64));
    doubts.extend(doubts::of_images(&recipe, dataset.as_ref(), validation)?);
    let model = build(&recipe.model, classes, input)?;
    let layout = model.layout();
    let frozen = select::frozen(&recipe, layout)?;
    let groups = select::groups(&recipe, layout, frozen.as_deref())?;
    let mut initial = layout.initialise(recipe.train.seed);
    let mut report = None;
    if let Some(path) = recipe.model.weights.as_deref().filter(|_| starts) {
        let loaded =
            weights::fit(&WeightFile::open(Path::new(path))?, layout, initial, &options(&recipe.model))?;
        (initial, report) = (loaded.values, Some(loaded.report));
    }
    Ok(Prepared { recipe, images, doubts, model, initial, weights: report, frozen, groups, classes, input })
}

/// The rules by which a recipe's weight file is read.
pub(crate) fn options(section: &ModelSection) -> Options {
    Options {
        policy: match section.load {
            None | Some(Load::All) => Policy::All,
            Some(Load::IgnoreUnexpected) => Policy::IgnoreUnexpected,
            Some(Load::NewHead) => Policy::NewHead,
            Some(Load::Matching) => Policy::Matching,
        },
        key: section.weights_key.clone(),
        resample_pos_embed: section.resample_pos_embed == Some(true),
        ..Options::default()
    }
}
