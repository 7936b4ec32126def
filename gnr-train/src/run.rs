//! Starting and continuing runs.

use std::{path::Path, sync::atomic::AtomicBool, thread::available_parallelism};

use gnr_models::{
    AnyModel, ModelConfig,
    weights::{self, NonFinite},
};
use gnr_nn::{Autodiff, Model};

use crate::{
    backend::{self, Job},
    data::Images,
    error::{Result, TrainError},
    folder::{RunFolder, is_run, recipe_of, refuse_existing},
    observer::Observer,
    recipe::{Load, Model as ModelSection, Recipe},
    trainer::{Outcome, Prepared, Trainer, same_run},
};

/// What to do when the run folder holds a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse; nothing is overwritten.
    Refuse,
    /// Continue it, if it is of the same recipe.
    Resume,
}

/// Trains by `recipe` in the run folder `folder`, on the CPU backend in the recipe's precision.
///
/// Data, model and initial weights are opened and checked before the folder is made. Setting `stop` (from a signal handler,
/// another thread) ends the run after the current step with a checkpoint.
///
/// # Errors
/// Everything in [`TrainError`]; a run that fails leaves its last checkpoint untouched.
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
    backend::dispatch(recipe.train.precision, Train { recipe, folder, existing, observer, stop })
}

/// [`train`] on a backend of the caller's choice. `backend` is made on the thread that will use it.
///
/// # Errors
/// As [`train`].
pub fn train_on<B: Autodiff + 'static>(
    backend: impl FnOnce() -> B + Send,
    recipe: Recipe,
    folder: &Path,
    existing: Existing,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome> {
    Train { recipe, folder, existing, observer, stop }.on(backend)
}

/// Continues the run in `folder` to its end. The result is, bit for bit, that of a run that never stopped.
///
/// # Errors
/// As [`train`]; a folder without a run.
pub fn resume(folder: &Path, observer: &mut (dyn Observer + Send), stop: &AtomicBool) -> Result<Outcome> {
    train(recipe_of(folder)?, folder, Existing::Resume, observer, stop)
}

struct Train<'a> {
    recipe: Recipe,
    folder: &'a Path,
    existing: Existing,
    observer: &'a mut (dyn Observer + Send),
    stop: &'a AtomicBool,
}

impl Job for Train<'_> {
    type Output = Result<Outcome>;

    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> B + Send) -> Result<Outcome> {
        let Self { mut recipe, folder, existing, observer, stop } = self;
        let resumes = existing == Existing::Resume && is_run(folder);
        if resumes {
            let theirs = recipe_of(folder)?;
            if recipe.train.threads == 0 {
                recipe.train.threads = theirs.train.threads;
            }
            if !same_run(&theirs, &recipe) {
                return Err(TrainError::Folder {
                    path: folder.to_path_buf(),
                    problem: "holds a run of another recipe (compare its recipe.toml); choose another --out"
                        .into(),
                });
            }
        } else {
            refuse_existing(folder)?;
        }
        recipe.train.threads = threads(recipe.train.threads);
        let prepared = prepare(recipe)?;
        let folder =
            if resumes { RunFolder::open(folder)? } else { RunFolder::create(folder, &prepared.recipe)? };
        in_pool(prepared.recipe.train.threads, || {
            Trainer::new(&prepared, &folder, backend())?.run(observer, stop)
        })?
    }
}

/// As many threads as asked for, or as there are cores.
pub(crate) fn threads(asked: usize) -> usize {
    if asked > 0 { asked } else { available_parallelism().map_or(1, usize::from) }
}

/// Runs on a pool of exactly this many threads.
pub(crate) fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| TrainError::Threads { threads, reason: error.to_string() })?;
    Ok(pool.install(work))
}

/// Checks a recipe against the data and the machine without training: opens the images, builds the model, reads weights.
///
/// # Errors
/// As [`train`].
pub fn check(recipe: Recipe) -> Result<Plan> {
    let prepared = prepare(recipe)?;
    Ok(Plan {
        data: prepared.images.describe(),
        parameters: prepared.model.layout().num_parameters(),
        steps_per_epoch: prepared.images.train.batches_per_epoch() as u64,
    })
}

/// What [`check`] found.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The images in words.
    pub data: Vec<String>,
    /// d.
    pub parameters: usize,
    /// Steps an epoch.
    pub steps_per_epoch: u64,
}

/// A model by the recipe's section.
pub(crate) fn build(section: &ModelSection, classes: usize, input: [usize; 3]) -> Result<AnyModel> {
    let mut config = ModelConfig::new(section.name.as_str(), classes, input);
    config.widths.clone_from(&section.widths);
    (config.depth, config.heads, config.patch) = (section.depth, section.heads, section.patch);
    (config.dropout, config.drop_path) = (section.dropout, section.drop_path);
    config.activation = section.activation.as_deref().map(str::parse).transpose()?;
    Ok(AnyModel::build(&config)?)
}

fn prepare(recipe: Recipe) -> Result<Prepared> {
    let images = Images::open(&recipe)?;
    let dataset = images.train.dataset();
    let (classes, input) = (dataset.classes().len(), dataset.shape());
    let model = build(&recipe.model, classes, input)?;
    let random = || model.layout().initialise(recipe.train.seed);
    let initial = match (&recipe.model.weights, recipe.model.load) {
        (None, _) => random(),
        (Some(path), Some(Load::Matching)) => {
            let path = Path::new(path);
            let loaded = weights::load_partial(path, model.layout(), random(), NonFinite::Reject)?;
            if loaded.report.matched.is_empty() {
                let problem = format!("no tensor fits the model {}", recipe.model.name);
                return Err(TrainError::Checkpoint { path: path.to_path_buf(), problem });
            }
            loaded.values
        }
        (Some(path), _) => weights::load(Path::new(path), model.layout(), NonFinite::Reject)?.values,
    };
    Ok(Prepared { recipe, images, model, initial, classes, input })
}
