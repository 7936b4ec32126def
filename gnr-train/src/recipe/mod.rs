//! The recipe: the full configuration of a run as plain data, from TOML and back.

mod augment;
mod builtin;
pub(crate) mod device;
mod differences;
mod label_noise;
mod method;
mod parallel;
mod read;
mod reader;
mod registered;
mod source;

pub use augment::{ColorJitter, RandAugment, RandomErasing, Variation};
pub use gnr_core::{optimizer::entries as optimizers, registry, regularizer::entries as regularizers};

pub use builtin::{BUILTIN, Builtin, builtin};
pub use device::{Device, Engine, Place, Precision};
pub(crate) use differences::different_keys;
pub use label_noise::{LabelNoise, NoiseKind, NoiseSource};
pub use method::{Gnr, Hvp, Method};
pub use parallel::{Parallel, Perturbation};
pub(crate) use reader::beginning;
pub use reader::{Problem, RecipeError};
pub use registered::{Kind, Settings, kinds};

use std::path::Path;

use gnr_core::{optimizer, registry::Values, regularizer};
use serde::{Serialize, Serializer};

use source::Source;

/// Everything that decides a run. Every key has a default; the empty recipe trains on the embedded digits with GNR.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// The name, which is also that of the run folder. Default: the file's name, or `digits`.
    pub name: String,
    /// The images to learn from.
    pub data: Data,
    /// The model that learns.
    pub model: Model,
    /// The terms that are added to plain gradient descent.
    pub method: Method,
    /// The optimiser, which moves the parameters.
    pub optimizer: Optimizer,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The training loop.
    pub train: Train,
    /// The way in which ranks share a batch, where several train together.
    #[serde(skip_serializing_if = "Parallel::is_default")]
    pub parallel: Parallel,
}

/// The section `[data]`: the images and their variation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// The data set, a name that `gnr data` lists. Default `digits`.
    pub name: String,
    /// The folder of the files. Default: none (embedded or installed sets need none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Whether files that would be left out, images of a single colour and names that are easily confused are errors
    /// instead of warnings. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Fraction of the training images held out for validation, in [0, 1). Default 0.
    pub validation: f64,
    /// Seed of the choice of validation images. Default 0.
    pub validation_seed: u64,
    /// Random variation of the training images. Default: the usual one of the data set.
    pub augment: Augment,
    /// Further variations, under the same section. Default: none.
    #[serde(flatten)]
    pub variation: Variation,
    /// The preset of mean and standard deviation. Default: the data set's own.
    pub normalization: String,
    /// A part of the training images, `[data.subset]`. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Wrong training labels, `[data.label_noise]`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<LabelNoise>,
    /// One size for all images, `[data.resize]`. Default: images are not resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
}

/// The random variation of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// No variation of the images.
    None,
    /// Mirroring with probability ½.
    Flip,
    /// A shift by padding with 4 pixels and cropping, then mirroring with probability ½.
    PadCropFlip,
    /// A part of random area and proportions, scaled to the size of `resize`, then mirroring with probability ½.
    RandomResizedCrop,
}

/// The section `[data.subset]`, with one of `count` and `per_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Subset {
    /// Number of images in all, each class in proportion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Number of images of each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Seed of the choice of images. Default 0.
    pub seed: u64,
}

/// The section `[data.resize]`: the shorter side is scaled, then the centre is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resize {
    /// Length of the shorter side in pixels.
    pub shorter: usize,
    /// Number of rows that are kept.
    pub height: usize,
    /// Number of columns that are kept.
    pub width: usize,
    /// The filter of the scaling. Default bilinear.
    pub interpolation: Interpolation,
}

/// The filters of a change of size, equal to Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle of half-width 1.
    Bilinear,
    /// Keys' cubic of half-width 2.
    Bicubic,
}

impl From<Interpolation> for gnr_data::Interpolation {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Bilinear => Self::Bilinear,
            Interpolation::Bicubic => Self::Bicubic,
        }
    }
}

/// The section `[model]`: the architecture and its initial weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The architecture, a name that `gnr models` lists. Default `resnet8`.
    pub name: String,
    /// Hidden widths of an MLP, widths of the stages of a ResNet, or the one width of a ViT. Default: the
    /// architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP, a LeNet, a ResNet, ResNeXt or wide ResNet: `relu`, `gelu`, `silu` or `tanh`. Default:
    /// `relu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Normalisation of a ResNet, ResNeXt or wide ResNet: `batch`, `group`, `layer` (one group) or `none`. Default:
    /// `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<String>,
    /// Number of groups of `norm = "group"`, which must divide the channels of every layer. Default: 32, or as many of
    /// at least 4 channels as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_groups: Option<usize>,
    /// Number of blocks of a ViT. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Attention heads of a ViT. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Side of the patches of a ViT in pixels. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<usize>,
    /// Rate of dropout, in [0, 1). Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Rate of stochastic depth in the last residual block, in [0, 1); it falls linearly to 0 in the first one. Default
    /// 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// The file of the initial weights, safetensors or a PyTorch checkpoint. Default: random initialisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The part of that file to read, as in `state_dict_ema`. Default: the part with most of the model's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// The differences that are allowed between that file and the model. Default `all`: the file must have
    /// exactly the model's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Whether position embeddings of another image size are interpolated. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resample_pos_embed: Option<bool>,
    /// The parameters that are frozen: `"backbone"` (everything but the classifier), or a list of patterns as in
    /// `[[optimizer.group]]`. BatchNorm layers among them use their running statistics. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

/// The differences that are allowed between a weight file and the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// No difference: all tensors must be there.
    All,
    /// The file may have additional tensors.
    IgnoreUnexpected,
    /// The file may have additional tensors, and the classifier is initialised randomly.
    NewHead,
    /// Tensors that fit are loaded; the others are initialised randomly.
    Matching,
}

/// The parameters that are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// All parameters but the classifier's.
    Backbone,
    /// The parameters whose names match one of these patterns.
    Matching(Vec<String>),
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Backbone => serializer.serialize_str("backbone"),
            Self::Matching(patterns) => patterns.serialize(serializer),
        }
    }
}

/// The section `[optimizer]`: the optimiser and its groups of parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Optimizer {
    /// The optimiser, a name that `gnr methods` lists. Default `sgd`.
    pub name: &'static str,
    /// The peak η₀ > 0 of the learning rate. Default: the optimiser's own (0.1 for SGD, 1e-3 for Adam and AdamW).
    pub lr: f64,
    /// Weight decay ≥ 0, coupled or decoupled as the optimiser has it. Default: the optimiser's own (5e-4 for SGD, 0
    /// for Adam, 0.01 for AdamW).
    pub weight_decay: f64,
    /// All other keys of the optimiser, which `gnr methods NAME` describes.
    #[serde(flatten)]
    pub settings: Settings,
    /// The parameters without weight decay. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_decay: Option<NoDecay>,
    /// Groups `[[optimizer.group]]` of parameters with a learning rate or weight decay of their own. The first matching
    /// group counts.
    #[serde(rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

impl Optimizer {
    /// The optimiser's name in reports (`SGD`).
    pub fn title(&self) -> &'static str {
        registry::find(optimizer::entries(), self.name).map_or(self.name, |entry| entry.title)
    }

    /// All settings of the optimiser, with this weight decay.
    pub(crate) fn values(&self, weight_decay: f64) -> gnr_core::Result<Values> {
        let mut values = self.settings.0.clone();
        values.set("lr", self.lr.into())?;
        values.set("weight_decay", weight_decay.into())?;
        Ok(values)
    }
}

/// The parameters without weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoDecay {
    /// Parameters of one axis: biases, and the scales and shifts of normalisations.
    NormAndBias,
    /// Scales, shifts and biases, and a transformer's parameters of positions: class token, position embeddings,
    /// relative position biases.
    NormBiasAndPosition,
}

/// A section `[[optimizer.group]]`: some of the parameters, with settings of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The parameters: a tensor (`fc.weight`), a module (`fc`), or a pattern in which `*` stands for any characters
    /// (`layer4.*.bn*`).
    #[serde(rename = "match")]
    pub pattern: String,
    /// Factor ≥ 0 of the learning rate. Default 1.
    pub lr_scale: f64,
    /// Weight decay ≥ 0. Default: the optimiser's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// The section `[schedule]`: the learning rate over time, after a linear warm-up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// The schedule, a name that `gnr methods` lists. Default `cosine`.
    pub name: &'static str,
    /// The keys of the schedule, `warmup_epochs` included, which `gnr methods NAME` describes.
    #[serde(flatten)]
    pub settings: Settings,
}

/// The section `[train]`: the loop, its engine and its files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    /// Number of passes over the training images. Default 30.
    pub epochs: u64,
    /// Number of images a step. Default 64.
    pub batch_size: usize,
    /// Number of parts of a batch that are evaluated one after the other to save memory. Default 1.
    pub micro_batches: usize,
    /// Label smoothing, in [0, 1). Default 0.
    pub label_smoothing: f64,
    /// Largest norm of the direction; a longer one is scaled down. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Seed of initialisation, order and augmentation. Default 0.
    pub seed: u64,
    /// The engine that computes. Default: the CPU engine.
    #[serde(skip_serializing_if = "Engine::is_default")]
    pub backend: Engine,
    /// The device of the engine: `cpu`, or with the backends `torch` and `dfdx` also `cuda` and `cuda:N`. Default: the
    /// CPU.
    #[serde(skip_serializing_if = "Device::is_default")]
    pub device: Device,
    /// Precision of parameters and activations: `f32`, `f64`; with the backend `torch` also `bf16`, and on cards
    /// `tf32`. Default f32.
    pub precision: Precision,
    /// Whether images lie with the channels of a pixel next to each other, which the backend `torch` can. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub channels_last: bool,
    /// Number of threads of the tensor kernels. Default 0: as many as there are cores, fixed when the run starts.
    pub threads: usize,
    /// Number of threads that prepare batches; any number gives equal bits. Default 2.
    pub workers: usize,
    /// Number of epochs between checkpoints. Default 1; 0: only at the end and when interrupted.
    pub checkpoint_every_epochs: u64,
    /// Number of steps between additional checkpoints within epochs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every_steps: Option<u64>,
    /// Number of epochs between weights that are kept as `checkpoints/epoch-<n>.safetensors`, beside those of epochs 0
    /// and the last, for trajectories and curvature over time. Default: only the last and the best weights are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every_epochs: Option<u64>,
    /// Number of epochs between evaluations; the last epoch is always evaluated. Default 1.
    pub eval_every: u64,
    /// Number of images at a time in evaluation. Default: [`eval_batch`](Self::eval_batch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_batch_size: Option<usize>,
    /// Number of steps between lines of metrics. Default: lines for epochs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every_steps: Option<u64>,
    /// An average of the weights, `[train.average]`, which is evaluated beside them and does not affect training.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
}

/// The section `[train.average]`: an average of the weights.
///
/// Once there is an average, each evaluation is also made for it (`average_*` in `metrics.jsonl` and `summary.json`),
/// and the last one is written as `checkpoints/average.safetensors`. The weights themselves decide which checkpoint is
/// the best.
///
/// A schedule-free optimiser has averaged weights of its own. Without this section they are evaluated and written
/// likewise.
/// the weights themselves decide.
///
/// # Cost
/// One vector, and each evaluation twice. For `swa` of a model with BatchNorm, also a forward pass over the training
/// images before each evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// The kind of average; it must be given.
    pub kind: AverageKind,
    /// For EMA: the weight in (0, 1) of the old average in each step. Default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Number of epochs before the first one that is averaged, less than `train.epochs`: 30 means the steps (EMA) or
    /// ends (SWA) of the epochs 31, 32, …. Default 0 for EMA, ¾ of the epochs (rounded down) for SWA.
    pub from_epoch: u64,
}

/// The kind of average and its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AverageKind {
    /// Exponential moving average of weights and running statistics after each step, as in timm's `ModelEmaV2`.
    Ema,
    /// Stochastic weight averaging: the mean of the weights at the ends of late epochs. Running statistics are measured
    /// at the averaged weights before each evaluation, like PyTorch's `update_bn`, on training images without
    /// augmentation.
    Swa,
}

impl Train {
    /// Number of images `[C, H, W]` at a time in evaluation: `eval_batch_size`, or else 256, or fewer if they have more
    /// than 2²¹ pixels in all (41 of 224×224). Larger batches would not be faster, and the maps of 256 photographs take
    /// gigabytes.
    pub fn eval_batch(&self, [_, height, width]: [usize; 3]) -> usize {
        self.eval_batch_size.unwrap_or_else(|| ((1 << 21) / (height * width).max(1)).clamp(1, 256))
    }
    /// The engine, device and precision of the run.
    pub fn place(&self) -> Place {
        Place {
            engine: self.backend,
            device: self.device,
            precision: self.precision,
            channels_last: self.channels_last,
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        let source = Source::empty("digits");
        read::recipe(&mut reader::Reader::new(&source))
    }
}

impl Recipe {
    /// Reads TOML text. `origin` stands for the file in errors. `name` is the recipe's name unless the text gives one.
    /// `overrides` are assignments `section.key=value`, which take precedence over the text.
    ///
    /// # Errors
    /// [`RecipeError`], which lists every unknown key (with the nearest valid one), every wrong type, and every value
    /// outside its domain.
    ///
    /// ```
    /// use gnr_train::Recipe;
    /// let recipe = Recipe::parse("mine.toml", "mine", "train.epochs = 3", &["optimizer.lr=0.2".into()])?;
    /// assert_eq!((recipe.train.epochs, recipe.optimizer.lr), (3, 0.2));
    ///
    /// let error = Recipe::parse("mine.toml", "mine", "[train]\nepoch = 3", &[]).unwrap_err();
    /// assert_eq!(error.to_string(), "mine.toml:2: unknown key `epoch` in [train]; did you mean `epochs` in [train]?");
    /// # Ok::<(), gnr_train::RecipeError>(())
    /// ```
    pub fn parse(origin: &str, name: &str, text: &str, overrides: &[String]) -> Result<Self, RecipeError> {
        let source = Source::new(origin, name, text, overrides)?;
        let mut reader = reader::Reader::new(&source);
        let recipe = read::recipe(&mut reader);
        reader.finish()?;
        Ok(recipe)
    }

    /// Reads a file like [`parse`](Self::parse); its stem is the default name.
    ///
    /// # Errors
    /// The errors of [`parse`](Self::parse), and one for a file that cannot be read.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, RecipeError> {
        let origin = path.display().to_string();
        // A file of weights, say, is refused by its length, without reading it.
        source::check_length(&origin, std::fs::metadata(path).map_or(0, |file| file.len()))?;
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => source::no_text(&origin),
            _ => RecipeError::Unreadable { file: origin.clone(), source },
        })?;
        let name = path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&origin, &name, &text, overrides)
    }

    /// The complete recipe as TOML, from which [`parse`](Self::parse) makes an equal recipe.
    ///
    /// # Errors
    /// [`RecipeError::Unwritable`] for a value that TOML cannot hold (a seed beyond 2⁶³).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        // The value becomes a table first, whose writer puts plain values before sections.
        let table = toml::Table::try_from(self).map_err(|e| RecipeError::Unwritable(e.to_string()))?;
        toml::to_string(&table).map_err(|e| RecipeError::Unwritable(e.to_string()))
    }

    /// The recipe without keys that do not decide results: paths of files, strictness, threads, checkpoints in between.
    /// Runs whose deciding recipes are equal have equal results. (Every kernel of gnr-cpu gives
    /// equal bits for any number of threads, but this is only promised for equal numbers.)
    pub fn deciding(&self) -> Self {
        let mut recipe = self.clone();
        recipe.data.dir = None;
        recipe.data.strict = false;
        recipe.model.weights = None;
        recipe.train.threads = 0;
        recipe.train.workers = 0;
        recipe.train.checkpoint_every_epochs = 1;
        recipe.train.checkpoint_every_steps = None;
        recipe.train.keep_every_epochs = None;
        recipe
    }

    /// The recipe on the default engine and device. Other engines compute the run up to rounding.
    pub(crate) fn anywhere(mut self) -> Self {
        (self.train.backend, self.train.device) = (Engine::default(), Device::default());
        self.train.channels_last = false;
        self
    }

    /// The name of the method in tables: `SGD`, `SGD + SAM + GNR (exact)`, `SGD + SAM, groups of 32`, ….
    pub fn method_name(&self) -> String {
        let mut name = String::from(self.optimizer.title());
        for Settings(values) in &self.method.regularizers {
            let title =
                registry::find(regularizer::entries(), values.of()).map_or(values.of(), |entry| entry.title);
            name.push_str(&format!(" + {title}"));
            if let Some(gnr) = self.method.gnr().filter(|_| values.of() == "gnr") {
                name.push_str(match gnr.hvp {
                    Hvp::Exact => " (exact)",
                    Hvp::GaussNewton => " (Gauss-Newton)",
                    Hvp::ForwardDifference => " (forward difference)",
                    Hvp::CentralDifference => " (central difference)",
                });
            }
        }
        if let Some(group) = self.method.group {
            name.push_str(&format!(", groups of {group}"));
        }
        name
    }
}
