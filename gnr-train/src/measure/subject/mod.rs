//! The subject of measurements: a model at a checkpoint and a fixed sample of images, as an oracle of loss, gradients
//! and products.

mod batches;
mod select;
mod settings;

use std::path::{Path, PathBuf};

use gnr_core::Shares;
use gnr_data::{Loader, LoaderConfig, Normalization, Share};
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, Batches, Buffers, CrossEntropy, DataOracle, Entry, Mode, Model, ParamVector};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use batches::{LoadedBatches, tensors};
pub use select::{Sample, choose};
use settings::Settings;

use crate::{
    backend::{self, Job},
    checkpoint::{self, CheckpointFile},
    data,
    error::{Result, TrainError},
    eval::Split,
    fingerprint::Fingerprint,
    folder::is_run,
    pool::{in_pool, threads},
    ranks,
    recipe::{Precision, Recipe},
    run::build,
    team::Team,
    trainer::place,
};

/// The model, weights and images to measure. A checkpoint of a run provides its recipe as the default of everything
/// else.
#[derive(Clone, Debug)]
pub struct SubjectRequest {
    /// A run folder (its last checkpoint), or a weight file: safetensors or a PyTorch checkpoint.
    pub weights: PathBuf,
    /// Assignments `section.key=value` over the run's recipe (or over the defaults); see
    /// [`EvalRequest`](crate::EvalRequest).
    pub overrides: Vec<String>,
    /// The images, which are never augmented.
    pub split: Split,
    /// A sample of the images; `None` for all.
    pub sample: Option<Sample>,
    /// A safetensors file with images and labels in the tensors `x` and `y`, instead of a data set.
    pub tensors: Option<PathBuf>,
    /// Number of images at a time; default 256.
    pub batch_size: usize,
    /// The mode, which selects running or batch statistics in BatchNorm.
    pub mode: Mode,
    /// Patterns of the tensors that are variables, see [`choose`]; empty for all.
    pub layers: Vec<String>,
    /// The label smoothing; `None` for that of the recipe (0 for weights without a recipe).
    pub label_smoothing: Option<f64>,
    /// Number of batches whose records are kept between products. `None`: one if there is a single batch, else none.
    pub keep_records: Option<usize>,
    /// The ranks over which the images are spread, for curvature only.
    pub team: Team,
}

impl SubjectRequest {
    /// A request for all training images, eval-mode BatchNorm, 256 images at a time, and the whole network.
    pub fn new(weights: impl Into<PathBuf>) -> Self {
        Self {
            weights: weights.into(),
            overrides: Vec::new(),
            split: Split::Train,
            sample: None,
            tensors: None,
            batch_size: 256,
            mode: Mode::Eval,
            layers: Vec::new(),
            label_smoothing: None,
            keep_records: None,
            team: Team::default(),
        }
    }
}

/// Description of a subject in words and numbers, for reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Path of the weight file.
    pub weights: String,
    /// CRC-32C of the weight file.
    pub weights_checksum: String,
    /// Number of epochs trained, where the file says so.
    pub epoch: Option<u64>,
    /// The model's name.
    pub model: String,
    /// The recipe's section `[model]`, as far as it decides the function and is not the default.
    pub model_settings: Map<String, Value>,
    /// The images, described in words.
    pub data: String,
    /// Checksum of labels and pixels (of 512 images where each must be decoded). Other images make another measurement.
    pub data_checksum: String,
    /// The preset of mean and standard deviation; `None` for images from tensors, which are not normalised.
    pub normalization: Option<String>,
    /// Number of images.
    pub images: usize,
    /// Number of images at a time.
    pub batch_size: usize,
    /// BatchNorm's statistics: `eval` (running) or `train` (those of each batch).
    pub batch_norm: &'static str,
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f64,
    /// Number of learned scalars of the whole model.
    pub parameters: usize,
    /// Number of scalars that are variables, the dimension of the Hessian.
    pub dimension: usize,
    /// Names of the tensors that are variables; `None` for all.
    pub layers: Option<Vec<String>>,
    /// The precision of parameters, activations and products.
    pub precision: Precision,
    /// The device of the measurement: `cpu`, `cuda:0`.
    pub device: String,
    /// Name and version of the library that computed.
    pub library: String,
    /// Number of threads of the kernels.
    pub threads: usize,
}

impl Description {
    /// All that decides the values of a measurement but its own options. The path of the weights, the device, the
    /// library and the number of threads do not.
    ///
    /// The checksum of the weights covers the recipe in their file. Settings are therefore named only where the request
    /// replaces the file's `own`. So the identities of earlier programs, which named no settings, stay valid for
    /// requests without replacements.
    fn identity(&self, settings: &Settings, own: &Settings) -> Value {
        let mut identity = json!({
            "weights": self.weights_checksum,
            "model": self.model,
            "data": self.data,
            "data_checksum": self.data_checksum,
            "batch_size": self.batch_size,
            "batch_norm": self.batch_norm,
            "label_smoothing": self.label_smoothing,
            "layers": self.layers,
            "precision": self.precision,
        });
        if settings.model != own.model {
            identity["model_settings"] = json!(settings.model);
        }
        if settings.normalization != own.normalization {
            identity["normalization"] = json!(settings.normalization);
        }
        identity
    }
}

/// A model at a point, with its images, on a backend.
pub struct Subject<'a, B: Autodiff> {
    /// The network that is measured.
    pub model: &'a AnyModel,
    /// A plain handle of the backend.
    pub backend: B,
    /// The whole point θ.
    pub theta: ParamVector<B>,
    /// The running statistics of BatchNorm.
    pub buffers: Buffers<B>,
    /// The description for reports.
    pub description: Description,
    /// What decides the values of a measurement, see [`Description::identity`]. Work on a subject of equal identity
    /// can go on.
    pub(crate) identity: Value,
    settings: Settings,
    overrides: &'a [String],
    batches: Box<dyn Batches<B> + 'a>,
    /// The number of images of each rank.
    pub(crate) shares: Shares,
    numbering: [u64; 2],
    mode: Mode,
    loss: CrossEntropy,
    free: Option<Vec<bool>>,
    keep: Option<usize>,
}

impl<B: Autodiff> Subject<'_, B> {
    /// The oracle of L̂ on the images, or on this rank's part of them. If layers were chosen, its points consist of
    /// their tensors only, like [`start`](Self::start).
    ///
    /// # Errors
    /// No error, unless the subject's parts do not belong together.
    pub fn oracle(&mut self) -> Result<DataOracle<'_, AnyModel, B, &mut (dyn Batches<B> + '_)>> {
        // The box's lifetime is longer than the borrow's; a reborrow shortens it.
        let batches: &mut (dyn Batches<B> + '_) = &mut *self.batches;
        let mut oracle = DataOracle::new(self.model, &self.backend, batches, self.buffers.clone())
            .with_loss(self.loss)
            .with_mode(self.mode)
            .with_numbering(self.numbering[0], self.numbering[1]);
        if let Some(keep) = self.keep {
            oracle = oracle.keeping(keep);
        }
        match &self.free {
            Some(free) => Ok(oracle.free(&self.theta, free)?),
            None => Ok(oracle),
        }
    }

    /// The point that is measured: θ, or the chosen tensors of it.
    pub fn start(&self) -> ParamVector<B> {
        let free = |index: usize| self.free.as_ref().is_none_or(|free| free[index]);
        let tensors = self.theta.tensors().iter().enumerate().filter(|(index, _)| free(*index));
        ParamVector::new(self.backend.clone(), tensors.map(|(_, tensor)| tensor.clone()).collect())
    }

    /// Names and shapes of the point's tensors, in order.
    pub fn entries(&self) -> Vec<&Entry> {
        let free = |index: usize| self.free.as_ref().is_none_or(|free| free[index]);
        let entries = self.model.layout().parameters().enumerate().filter(|(index, _)| free(*index));
        entries.map(|(_, entry)| entry).collect()
    }

    /// Reads another checkpoint of the model. Returns its point and running statistics.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another model; a checkpoint of a run with another architecture or
    /// normalisation, whose loss would not be its own here.
    pub fn load(&self, weights: &Path) -> Result<(ParamVector<B>, Buffers<B>)> {
        let path = weight_file(weights);
        let file = CheckpointFile::read(&path)?;
        if let Some(header) = file.header() {
            let (origin, normalised) = (path.display().to_string(), self.settings.normalization.is_some());
            let theirs = Settings::in_file(&origin, &header.recipe, self.overrides, normalised)?;
            if let Some((key, [expected, found])) = self.settings.difference(&theirs) {
                let ours = &self.description.weights;
                return Err(TrainError::Checkpoint {
                    problem: format!(
                        "{key} is {found} there, expected {expected} as of {ours}: the loss would not be that run's \
                         own; --set {key}=VALUE gives both one value"
                    ),
                    path,
                });
            }
        }
        place(&self.backend, self.model.layout(), file.model(self.model.layout())?)
    }
}

/// Work on a subject that can be done on any backend.
pub trait Measurement: Send {
    /// The result of the work.
    type Output: Send;
    /// Does the work.
    ///
    /// # Errors
    /// Any error of the work.
    fn run<B: Autodiff + 'static>(self, subject: Subject<'_, B>) -> Result<Self::Output>;
}

/// The path of a run folder's last checkpoint, or the file itself.
pub(crate) fn weight_file(weights: &Path) -> PathBuf {
    if is_run(weights) { checkpoint::last(weights) } else { weights.to_path_buf() }
}

/// Opens model, weights and images and does the work on the recipe's backend and device.
///
/// # Errors
/// A file that is missing, damaged, of another model or not finite; a data set that cannot be opened; patterns that
/// match nothing; the errors of the work.
pub fn measure<W: Measurement>(request: &SubjectRequest, work: W) -> Result<W::Output> {
    let (path, file) = ranks::weights(&request.team, &request.weights)?;
    let weights_checksum = format!("{:08x}", file.weights().checksum()?);
    let problem = |problem: String| TrainError::Checkpoint { path: path.clone(), problem };
    let origin = path.display().to_string();
    let recipe = match file.header() {
        Some(header) => Recipe::parse(&origin, "run", &header.recipe, &request.overrides)?,
        None if !request.overrides.iter().any(|set| set.trim_start().starts_with("model.name")) => {
            return Err(problem(
                "not a checkpoint of a run, so the model's name is needed: give --model".into(),
            ));
        }
        None => Recipe::parse(&origin, "measure", "", &request.overrides)?,
    };
    let normalised = request.tensors.is_none();
    let settings = Settings::of(&recipe, normalised);
    let own = match file.header() {
        Some(header) => Settings::in_file(&origin, &header.recipe, &[], normalised)?,
        None => Settings::usual(&recipe, normalised),
    };
    let source = Source::open(request, &recipe)?;
    let (classes, input) = (source.classes(), source.shape());
    let model = build(&recipe.model, classes, input)?;
    let values = file.model(model.layout())?;
    let layout = model.layout();
    let free = if request.layers.is_empty() { None } else { Some(choose(layout, &request.layers)?) };
    let chosen: Vec<&Entry> = layout
        .parameters()
        .enumerate()
        .filter(|(index, _)| free.as_ref().is_none_or(|free: &Vec<bool>| free[*index]))
        .map(|(_, entry)| entry)
        .collect();
    if let Some(smoothing) = request.label_smoothing.filter(|smoothing| !(0.0..1.0).contains(smoothing)) {
        return Err(TrainError::Request(format!("label smoothing {smoothing}: must lie in [0, 1)")));
    }
    let label_smoothing = request.label_smoothing.unwrap_or(if file.header().is_some() {
        recipe.train.label_smoothing
    } else {
        0.0
    });
    let threads = match recipe.train.threads {
        0 => request.team.threads(threads(0)),
        asked => asked,
    };
    let description = Description {
        weights: origin,
        weights_checksum,
        epoch: file.header().map(|header| header.progress.epoch),
        model: recipe.model.name.clone(),
        model_settings: settings.model.clone(),
        data: source.describe(),
        data_checksum: source.checksum()?,
        normalization: settings.normalization.clone(),
        images: source.len(),
        batch_size: request.batch_size.min(source.len()),
        batch_norm: match request.mode {
            Mode::Eval => "eval",
            Mode::Train => "train",
        },
        label_smoothing,
        parameters: layout.num_parameters(),
        dimension: chosen.iter().map(|entry| entry.len()).sum(),
        layers: free.is_some().then(|| chosen.iter().map(|entry| entry.name.clone()).collect()),
        precision: recipe.train.precision,
        device: recipe.train.device.to_string(),
        library: backend::library(recipe.train.place()),
        threads,
    };
    ranks::same_images(&request.team, &description.data, &description.data_checksum)?;
    let identity = description.identity(&settings, &own);
    let work = Measure {
        request,
        model: &model,
        values,
        source: &source,
        free,
        description,
        identity,
        settings,
        work,
    };
    backend::dispatch(recipe.train.place(), work)?
}

/// This rank's share of the images: a part of each batch, or whole batches. Whole batches are for tensors of a file,
/// and for train mode, in which BatchNorm takes the statistics of each batch.
fn share(request: &SubjectRequest) -> Share {
    let (index, of) = (request.team.rank(), request.team.size());
    match request.mode {
        Mode::Eval if request.tensors.is_none() => Share::OfEachBatch { index, of },
        _ => Share::OfBatches { index, of },
    }
}

/// The source of the images.
enum Source {
    Data(Box<Loader>),
    Tensors(tensors::Tensors),
}

impl Source {
    fn open(request: &SubjectRequest, recipe: &Recipe) -> Result<Self> {
        if let Some(path) = &request.tensors {
            return Ok(Self::Tensors(tensors::read(path)?));
        }
        let mut dataset = match request.split {
            Split::Train => data::views(&recipe.data)?.train,
            Split::Test => data::test(&recipe.data)?,
            Split::Validation => {
                data::views(&recipe.data)?.validation.ok_or_else(|| TrainError::Checkpoint {
                    path: request.weights.clone(),
                    problem: "no images were held out for validation (data.validation is 0)".into(),
                })?
            }
        };
        if let Some(sample) = request.sample {
            dataset = sample.of(dataset)?;
        }
        let normalization = Normalization::preset(&recipe.data.normalization)?;
        // Products take much longer than decoding, so one worker and one batch ahead are enough.
        let config = LoaderConfig {
            workers: recipe.train.workers.min(1),
            prefetch: 1,
            share: share(request),
            ..LoaderConfig::evaluation(request.batch_size, normalization)
        };
        Ok(Self::Data(Box::new(Loader::new(dataset, config)?)))
    }
    fn len(&self) -> usize {
        match self {
            Self::Data(loader) => loader.dataset().len(),
            Self::Tensors(tensors) => tensors.labels.len(),
        }
    }
    fn shape(&self) -> [usize; 3] {
        match self {
            Self::Data(loader) => loader.dataset().shape(),
            Self::Tensors(tensors) => tensors.shape,
        }
    }
    fn classes(&self) -> usize {
        match self {
            Self::Data(loader) => loader.dataset().classes().len(),
            Self::Tensors(tensors) => tensors.classes,
        }
    }
    fn checksum(&self) -> Result<String> {
        match self {
            Self::Data(loader) => Ok(Fingerprint::of(loader.dataset().as_ref())?.checksum()),
            Self::Tensors(tensors) => Ok(tensors.checksum.clone()),
        }
    }
    fn describe(&self) -> String {
        match self {
            Self::Data(loader) => loader.dataset().describe(),
            Self::Tensors(tensors) => tensors.describe(),
        }
    }
}

struct Measure<'a, W> {
    request: &'a SubjectRequest,
    model: &'a AnyModel,
    values: Vec<Vec<f64>>,
    source: &'a Source,
    free: Option<Vec<bool>>,
    description: Description,
    identity: Value,
    settings: Settings,
    work: W,
}

impl<W: Measurement> Job for Measure<'_, W> {
    type Output = Result<W::Output>;

    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Self::Output {
        let Self { request, model, values, source, free, description, identity, settings, work } = self;
        in_pool(description.threads, || {
            let backend = request.team.agree(backend())?;
            let (theta, buffers) = place(&backend, model.layout(), values)?;
            let batches: Box<dyn Batches<B> + '_> = match source {
                Source::Data(loader) => Box::new(LoadedBatches::new(&backend, loader)),
                Source::Tensors(tensors) => {
                    let whole = tensors.upload(&backend, request.batch_size)?;
                    let (rank, size) = (request.team.rank(), request.team.size());
                    Box::new(whole.into_iter().skip(rank).step_by(size).collect::<Vec<_>>())
                }
            };
            let loss = CrossEntropy { label_smoothing: description.label_smoothing };
            let (mode, keep, team) = (request.mode, request.keep_records, &request.team);
            let all = team.agree_with(Ok(()), &[batches.num_samples() as f64])?.1;
            let shares = team.shares(all.into_iter().map(|row| row[0] as usize).collect())?;
            let numbering = match share(request) {
                Share::OfBatches { index, of } => [index as u64, of as u64],
                _ => [0, 1],
            };
            work.run(Subject {
                model,
                backend,
                theta,
                buffers,
                description,
                identity,
                settings,
                overrides: &request.overrides,
                batches,
                shares,
                numbering,
                mode,
                loss,
                free,
                keep,
            })
        })?
    }
}
