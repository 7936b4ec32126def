//! The recipe: a run's full configuration as plain data, from TOML and back.

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
    /// Names the run folder. Default: the file's name, or `digits`.
    pub name: String,
    /// What is learnt.
    pub data: Data,
    /// What learns.
    pub model: Model,
    /// What is added to plain gradient descent.
    pub method: Method,
    /// How the parameters move.
    pub optimizer: Optimizer,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The loop.
    pub train: Train,
    /// How ranks share a batch, where several train together.
    #[serde(skip_serializing_if = "Parallel::is_default")]
    pub parallel: Parallel,
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// A name that `gnr data` lists. Default `digits`.
    pub name: String,
    /// Folder of the files. Default: none (embedded or installed sets need none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Whether files that would be left out, blank images and names that are easily confused are errors, not warnings. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Fraction of the training images held out for validation, in [0, 1). Default 0.
    pub validation: f64,
    /// Seed of that choice. Default 0.
    pub validation_seed: u64,
    /// Random variation of the training images. Default: what is usual for the data set.
    pub augment: Augment,
    /// More of it, under the same section. Default: nothing.
    #[serde(flatten)]
    pub variation: Variation,
    /// Preset of mean and standard deviation. Default: the data set's own.
    pub normalization: String,
    /// `[data.subset]`: train on a part of the images only. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// `[data.label_noise]`: wrong training labels. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<LabelNoise>,
    /// `[data.resize]`: bring every image to one size. Default: as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
}

/// Random variation of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Every image as it is.
    None,
    /// Mirror with probability ½.
    Flip,
    /// Pad by 4, crop, flip with probability ½.
    PadCropFlip,
    /// Cut out a part of random area and proportions, scale it to the size of `resize`, flip with probability ½.
    RandomResizedCrop,
}

/// `[data.subset]`: one of `count` and `per_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Subset {
    /// Images in all, classes in proportion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Images of each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Seed of the choice. Default 0.
    pub seed: u64,
}

/// `[data.resize]`: scale the shorter side, then crop the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resize {
    /// Length of the shorter side in pixels.
    pub shorter: usize,
    /// Rows that are kept.
    pub height: usize,
    /// Columns that are kept.
    pub width: usize,
    /// Filter of the scaling. Default bilinear.
    pub interpolation: Interpolation,
}

/// Filters of a change of size, as Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle.
    Bilinear,
    /// Keys' cubic.
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

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// A name that `gnr models` lists. Default `resnet8`.
    pub name: String,
    /// Hidden widths of an MLP, widths of the stages of a ResNet, the one width of a ViT. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP, a LeNet, a ResNet, ResNeXt or wide ResNet: `relu`, `gelu`, `silu` or `tanh`. Default: `relu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Normalisation of a ResNet, ResNeXt or wide ResNet: `batch`, `group`, `layer` (one group) or `none`. Default: `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<String>,
    /// Number of groups of `norm = "group"`, which must divide the channels of every layer. Default: 32, or as many of at least 4
    /// channels as there are.
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
    /// Rate of stochastic depth in the last residual block, in [0, 1); it falls linearly to 0 in the first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// A weight file to start from, safetensors or a PyTorch checkpoint. Default: random initialisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The part of that file to read (`state_dict_ema`). Default: where most of the model's tensors are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// What may differ between that file and the model. Default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Interpolate position embeddings of another image size. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resample_pos_embed: Option<bool>,
    /// `"backbone"` (everything but the classifier), or a list of patterns as in `[[optimizer.group]]`: parameters that stay
    /// as they start. BatchNorm layers among them run on their running statistics. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

/// What may differ between a weight file and the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing.
    All,
    /// The file may have more tensors.
    IgnoreUnexpected,
    /// As before, and the classifier starts afresh.
    NewHead,
    /// What fits is taken; the rest keeps its random initialisation.
    Matching,
}

/// Parameters that are not learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// All but the classifier's.
    Backbone,
    /// Parameters whose names match one of these patterns.
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

/// `[optimizer]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Optimizer {
    /// A name that `gnr methods` lists. Default `sgd`.
    pub name: &'static str,
    /// Peak learning rate η₀ > 0. Default: the optimiser's own (0.1 for SGD, 1e-3 for Adam and AdamW).
    pub lr: f64,
    /// ≥ 0; coupled or decoupled, as the optimiser has it. Default: the optimiser's own (5e-4 for SGD, 0 for Adam, 0.01 for AdamW).
    pub weight_decay: f64,
    /// Every other key of the optimiser: `gnr methods NAME` describes them.
    #[serde(flatten)]
    pub settings: Settings,
    /// Parameters without weight decay. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_decay: Option<NoDecay>,
    /// `[[optimizer.group]]`: parameters with a learning rate or weight decay of their own. The first that matches counts.
    #[serde(rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

impl Optimizer {
    /// The optimiser's name in reports (`SGD`).
    pub fn title(&self) -> &'static str {
        registry::find(optimizer::entries(), self.name).map_or(self.name, |entry| entry.title)
    }

    /// All its settings, with this weight decay.
    pub(crate) fn values(&self, weight_decay: f64) -> gnr_core::Result<Values> {
        let mut values = self.settings.0.clone();
        values.set("lr", self.lr.into())?;
        values.set("weight_decay", weight_decay.into())?;
        Ok(values)
    }
}

/// Parameters without weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoDecay {
    /// Biases and everything else of one axis: scales and shifts of normalisations.
    NormAndBias,
    /// Norms, biases, and what a transformer learns of positions: class token, position embeddings, relative position biases.
    NormBiasAndPosition,
}

/// `[[optimizer.group]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// A tensor (`fc.weight`), a module (`fc`), or a pattern in which `*` stands for anything (`layer4.*.bn*`).
    #[serde(rename = "match")]
    pub pattern: String,
    /// Factor ≥ 0 of the learning rate. Default 1.
    pub lr_scale: f64,
    /// ≥ 0. Default: the optimiser's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// `[schedule]`: the learning rate over time, after a linear warm-up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// A name that `gnr methods` lists. Default `cosine`.
    pub name: &'static str,
    /// Its keys, `warmup_epochs` included: `gnr methods NAME` describes them.
    #[serde(flatten)]
    pub settings: Settings,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    /// Passes over the training images. Default 30.
    pub epochs: u64,
    /// Images a step. Default 64.
    pub batch_size: usize,
    /// Parts of a batch that are evaluated one after the other to save memory. Default 1.
    pub micro_batches: usize,
    /// In [0, 1). Default 0.
    pub label_smoothing: f64,
    /// Bound on the direction's norm. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Initialisation, order and augmentation. Default 0.
    pub seed: u64,
    /// What computes. Default: the CPU engine.
    #[serde(skip_serializing_if = "Engine::is_default")]
    pub backend: Engine,
    /// Where it computes: `cpu`, or with the backend `torch` also `cuda` and `cuda:N`. Default: the CPU.
    #[serde(skip_serializing_if = "Device::is_default")]
    pub device: Device,
    /// `f32`, `f64`; with the backend `torch` also `bf16`, and on cards `tf32`. Default f32.
    pub precision: Precision,
    /// Whether images lie with the channels of a pixel next to each other, which the backend `torch` can. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub channels_last: bool,
    /// Threads of the tensor kernels; 0: as many as there are cores, fixed when the run starts. Default 0.
    pub threads: usize,
    /// Threads that prepare batches; any number gives the same bits. Default 2.
    pub workers: usize,
    /// Default 1; 0: only at the end and when interrupted.
    pub checkpoint_every_epochs: u64,
    /// Additional checkpoints within epochs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every_steps: Option<u64>,
    /// Keep the weights of every so many epochs (and of epochs 0 and the last) as `checkpoints/epoch-<n>.safetensors`, for
    /// trajectories and curvature over time. Default: none are kept beside the last and the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every_epochs: Option<u64>,
    /// Evaluate after every so many epochs (and after the last). Default 1.
    pub eval_every: u64,
    /// Images at a time in evaluation. Default: [`eval_batch`](Self::eval_batch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_batch_size: Option<usize>,
    /// Write a line of metrics every so many steps. Default: none, epochs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every_steps: Option<u64>,
    /// `[train.average]`: the average of the weights is evaluated beside them. Training is the same. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
}

/// `[train.average]`.
///
/// Each evaluation is made for the average too (`average_*` in `metrics.jsonl` and `summary.json`), once there is one; the
/// last is written as `checkpoints/average.safetensors`. (A schedule-free optimiser has averaged weights of its own, which are evaluated and
/// written in the same way when there is no such section.) What is the best checkpoint, the weights themselves decide.
///
/// # Cost
/// One vector and each evaluation twice; for `swa` of a model with BatchNorm also a forward pass over the training images
/// before each evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Needed.
    pub kind: AverageKind,
    /// EMA: weight in (0, 1) of the old average in each step. Default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Epochs before the first one that is averaged: 30 means the steps (EMA) or ends (SWA) of the epochs 31, 32, … Less than
    /// `train.epochs`. Default 0 for EMA, ¾ of the epochs (rounded down) for SWA.
    pub from_epoch: u64,
}

/// Which points are averaged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AverageKind {
    /// Exponential moving average after each step, of weights and running statistics (as timm's `ModelEmaV2` has it).
    Ema,
    /// Stochastic weight averaging: the mean of the weights at the ends of late epochs. Running statistics are measured at the
    /// averaged weights before each evaluation (as PyTorch's `update_bn` does it, on training images without augmentation).
    Swa,
}

impl Train {
    /// Images `[C, H, W]` at a time in evaluation: as asked for, else 256, or as many fewer as have 2²¹ pixels (41 of 224×224):
    /// no more would be faster, and the maps of 256 photographs take gigabytes.
    pub fn eval_batch(&self, [_, height, width]: [usize; 3]) -> usize {
        self.eval_batch_size.unwrap_or_else(|| ((1 << 21) / (height * width).max(1)).clamp(1, 256))
    }
    /// What computes, where and in which precision.
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
    /// Reads TOML text. `origin` stands for the file in errors, `name` is the recipe's name unless the text gives one, and
    /// `overrides` are `section.key=value` assignments that win over the text.
    ///
    /// # Errors
    /// [`RecipeError`], listing every unknown key (with the nearest valid one), wrong type and value outside its domain.
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

    /// [`parse`](Self::parse) of a file; its stem is the default name.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and a file that cannot be read.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, RecipeError> {
        let origin = path.display().to_string();
        // Not that of weights, say, of which only the length is looked at.
        source::check_length(&origin, std::fs::metadata(path).map_or(0, |file| file.len()))?;
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => source::no_text(&origin),
            _ => RecipeError::Unreadable { file: origin.clone(), source },
        })?;
        let name = path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&origin, &name, &text, overrides)
    }

    /// The recipe as TOML, complete: [`parse`](Self::parse) of it gives an equal recipe.
    ///
    /// # Errors
    /// [`RecipeError::Unwritable`] for a value that TOML cannot hold (a seed beyond 2⁶³).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        // By way of a table, whose writer puts plain values before sections.
        let table = toml::Table::try_from(self).map_err(|e| RecipeError::Unwritable(e.to_string()))?;
        toml::to_string(&table).map_err(|e| RecipeError::Unwritable(e.to_string()))
    }

    /// The recipe without what decides nothing: places of files, strictness, threads, checkpoints in between. Runs of equal deciding recipes
    /// have equal results. (Any number of threads gives the same bits in every kernel of ours, but only the same number is a
    /// promise.)
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

    /// The recipe on the default engine and device. Others compute the same run but for rounding.
    pub(crate) fn anywhere(mut self) -> Self {
        (self.train.backend, self.train.device) = (Engine::default(), Device::default());
        self.train.channels_last = false;
        self
    }

    /// What the method is called in tables: `SGD`, `SGD + SAM + GNR (exact)`, `SGD + SAM, groups of 32`, ….
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
