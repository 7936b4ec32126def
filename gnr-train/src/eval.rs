//! Evaluating a weight file: a checkpoint of a run, or published weights with the name of their model.

use std::path::{Path, PathBuf};

use gnr_data::{Loader, LoaderConfig, Normalization, Share};
use gnr_models::{
    AnyModel,
    weights::{self, Options, Policy, Purpose, Report},
};
use gnr_nn::{Autodiff, Model};
use serde::Serialize;

use crate::{
    backend,
    checkpoint::CheckpointFile,
    classes::{self, ClassMap},
    data,
    error::{Result, TrainError, io},
    evaluate::{Counted, Evaluation, count},
    fingerprint::Fingerprint,
    fingerprint::Fingerprints,
    pool::{in_pool, threads},
    ranks,
    recipe::Recipe,
    run::{build, options},
    team::Team,
    trainer::place,
};

/// The weights and images to evaluate. A checkpoint of a run provides its recipe as the default of everything else.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// A run folder (its last checkpoint), or a weight file: safetensors or a PyTorch checkpoint.
    pub weights: PathBuf,
    /// Assignments `section.key=value` over the checkpoint's recipe (or over the defaults): `model.name`, `data.name`,
    /// `data.dir`, `data.normalization`, `train.eval_batch_size`, `train.threads`, `train.precision`, ….
    pub overrides: Vec<String>,
    /// The images to evaluate on.
    pub split: Split,
    /// Finds the data set's classes among the logits of a model that has more. Default: the model has exactly these
    /// classes, in this order.
    pub class_map: Option<ClassMap>,
}

/// Images of a data set, by their role in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The images that remain for training after subset and validation, without augmentation. They have the labels of
    /// training: noisy ones where the recipe has `data.label_noise`.
    Train,
    /// The images that the recipe held out. Their labels are noisy only where `data.label_noise.validation` says so.
    Validation,
    /// The published test images.
    Test,
}

/// The answer to an [`EvalRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// Path of the weight file.
    pub weights: String,
    /// The model's name.
    pub model: String,
    /// The images, described in words.
    pub data: String,
    /// The part of the data set.
    pub split: Split,
    /// The tensors that were taken from the file.
    pub loaded: Report,
    /// Loss and accuracies.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// Evaluates a weight file.
///
/// # Errors
/// A file that is missing, damaged, of another model or not finite; a data set that cannot be opened, or has other
/// classes than the run's without a class map; a file that no run wrote, without a model's name.
pub fn eval(request: &EvalRequest, progress: impl FnMut(usize, usize) + Send) -> Result<EvalReport> {
    eval_in(&Team::default(), request, progress)
}

/// Evaluates like [`eval`], together with the other ranks of a team: each has its part of every batch, and all get one
/// report. Rank 0 reads the weight file. Counts equal those of one process; the loss is a sum in another order.
///
/// # Errors
/// The errors of [`eval`], equal on every rank; ranks whose recipes, programs or images differ.
pub fn eval_in(
    team: &Team,
    request: &EvalRequest,
    progress: impl FnMut(usize, usize) + Send,
) -> Result<EvalReport> {
    team.ends(evaluated(team, request, progress))
}

fn evaluated(
    team: &Team,
    request: &EvalRequest,
    progress: impl FnMut(usize, usize) + Send,
) -> Result<EvalReport> {
    let (path, file) = ranks::weights(team, &request.weights)?;
    let origin = path.display().to_string();
    let recipe = team.agree(recipe(request, &path, &file))?;
    ranks::same_recipe(team, &recipe)?;
    let Opened { loader, model, values, loaded, logits_of } =
        team.agree(open(team, request, &path, &file, &recipe))?;
    let dataset = loader.dataset();
    if team.size() > 1 {
        let checksum = team.agree(Fingerprint::of(dataset.as_ref()))?.checksum();
        ranks::same_images(team, &dataset.describe(), &checksum)?;
    }
    let threads = match recipe.train.threads {
        0 => team.threads(threads(0)),
        asked => asked,
    };
    let place = recipe.train.place();
    let job =
        Evaluate { team, path: &path, model: &model, values, loader: &loader, logits_of, threads, progress };
    Ok(EvalReport {
        weights: origin,
        model: recipe.model.name,
        data: dataset.describe(),
        split: request.split,
        loaded,
        evaluation: backend::dispatch(place, job)??,
    })
}

/// The recipe of a checkpoint, or the default one, with the request's assignments.
fn recipe(request: &EvalRequest, path: &Path, file: &CheckpointFile) -> Result<Recipe> {
    let origin = path.display().to_string();
    match file.header() {
        Some(header) => Ok(Recipe::parse(&origin, "run", &header.recipe, &request.overrides)?),
        None if !request.overrides.iter().any(|set| set.trim_start().starts_with("model.name")) => {
            Err(TrainError::Checkpoint {
                path: path.to_path_buf(),
                problem: "not a checkpoint of a run, so the model's name is needed: give --model".into(),
            })
        }
        None => {
            // The keys that go with `model.weights` may be given. The value itself is not used, as the file is open.
            let overrides = [&request.overrides[..], &["model.weights=evaluated".to_owned()]].concat();
            Ok(Recipe::parse(&origin, "eval", "", &overrides)?)
        }
    }
}

/// Images and a model with the file's weights.
struct Opened {
    /// The loader of this rank's part of each batch.
    loader: Loader,
    model: AnyModel,
    values: Vec<Vec<f64>>,
    loaded: Report,
    logits_of: Option<Vec<usize>>,
}

fn open(
    team: &Team,
    request: &EvalRequest,
    path: &Path,
    file: &CheckpointFile,
    recipe: &Recipe,
) -> Result<Opened> {
    let dataset = match request.split {
        Split::Train => data::views(&recipe.data)?.train,
        Split::Test => data::test(&recipe.data)?,
        Split::Validation => data::views(&recipe.data)?.validation.ok_or_else(|| TrainError::Checkpoint {
            path: path.to_path_buf(),
            problem: "no images were held out for validation (data.validation is 0)".into(),
        })?,
    };
    let classes = dataset.classes();
    // Rank 0 alone needs to see the disk of the run. The other ranks learn the result, and have the same images.
    if team.leads() && request.class_map.is_none() && file.header().is_some() {
        same_classes(path, classes)?;
    }
    let mut model = build(&recipe.model, classes.len(), dataset.shape())?;
    let mut options = options(&recipe.model);
    if file.header().is_some() {
        // The recipe's rules are for the file of initial weights, and not for the weights that the run wrote.
        options = Options { policy: Policy::IgnoreUnexpected, ..Options::default() };
    }
    options.purpose = Purpose::Evaluation;
    let mut logits_of = None;
    if let Some(map) = &request.class_map {
        // The model gets as many logits as the file's classifier has rows.
        let head = model.layout().parameters().last().map_or_else(String::new, |entry| entry.name.clone());
        let shape = weights::stored_shape(file.weights(), model.layout(), &head, options.key.as_deref());
        let logits = shape.and_then(|shape| shape.first().copied()).unwrap_or(classes.len());
        model = build(&recipe.model, logits, dataset.shape())?;
        logits_of = Some(map.resolve(classes, logits)?);
    }
    let (values, loaded) = file.model_reported(model.layout(), &options)?;
    let config = LoaderConfig::evaluation(
        recipe.train.eval_batch(dataset.shape()),
        Normalization::preset(&recipe.data.normalization)?,
    );
    let share = Share::OfEachBatch { index: team.rank(), of: team.size() };
    let loader = Loader::new(dataset, LoaderConfig { workers: recipe.train.workers, share, ..config })?;
    Ok(Opened { loader, model, values, loaded, logits_of })
}

/// Refuses data whose classes differ from those that a run learned. Labels are positions in the list of classes, so the
/// logits would be counted for other classes.
///
/// The run's folder, two levels above the checkpoint, has the names. Of a checkpoint that was copied away from its run
/// nothing is known, and it is taken as it is.
fn same_classes(checkpoint: &Path, classes: &[String]) -> Result<()> {
    let real = checkpoint.canonicalize().map_err(io(checkpoint, "follow"))?;
    let Some(folder) = real.parent().and_then(Path::parent) else { return Ok(()) };
    let Some(run) = Fingerprints::read(folder)? else { return Ok(()) };
    match classes::difference(("the run", &run.classes()), ("the data", classes)) {
        None => Ok(()),
        Some(difference) => Err(TrainError::Checkpoint {
            path: checkpoint.to_path_buf(),
            problem: format!(
                "expected the classes of the run in the data, in this order; {difference}. If classes of the data are among \
                 the run's, name them with --class-map FILE, a file with the run's classes, one a line, in the run's order"
            ),
        }),
    }
}

struct Evaluate<'a, F> {
    team: &'a Team,
    path: &'a Path,
    model: &'a AnyModel,
    values: Vec<Vec<f64>>,
    loader: &'a Loader,
    logits_of: Option<Vec<usize>>,
    threads: usize,
    progress: F,
}

impl<F: FnMut(usize, usize) + Send> backend::Job for Evaluate<'_, F> {
    type Output = Result<Evaluation>;

    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Result<Evaluation> {
        let Self { team, path, model, values, loader, logits_of, threads, progress } = self;
        tracing::debug!(file = %path.display(), threads, "evaluating");
        in_pool(threads, || {
            let logits_of = logits_of.as_deref();
            let counted = backend().and_then(|backend| {
                let (theta, buffers) = place(&backend, model.layout(), values)?;
                count(model, &backend, &theta, &buffers, loader, logits_of, progress)
            });
            Ok(Counted::of_ranks(team, counted)?.evaluation(logits_of.is_some()))
        })?
    }
}
