//! The recipe: the full configuration of a run as plain data, from TOML and back.

mod augment;
mod builtin;
mod data;
pub(crate) mod device;
mod differences;
mod domain;
mod label_noise;
mod method;
mod model;
mod optimizer;
mod parallel;
mod read;
mod reader;
mod registered;
mod schedule;
mod source;
mod train;

pub use augment::{ColorJitter, RandAugment, RandomErasing, Variation};
pub use gnr_core::{optimizer::entries as optimizers, registry, regularizer::entries as regularizers};

pub use builtin::{BUILTIN, Builtin, builtin};
pub use data::{Augment, Data, Interpolation, Resize, Subset};
pub use device::{Device, Engine, Place, Precision};
pub(crate) use differences::different_keys;
pub use label_noise::{LabelNoise, NoiseKind, NoiseSource};
pub use method::{Gnr, Hvp, Method};
pub use model::{Freeze, Load, Model};
pub use optimizer::{Group, NoDecay, Optimizer};
pub use parallel::{Parallel, Perturbation};
pub(crate) use reader::beginning;
pub use reader::{Problem, RecipeError};
pub use registered::{Kind, Settings, kinds};
pub use schedule::Schedule;
pub use train::{Average, AverageKind, Train};

use std::path::Path;

use gnr_core::regularizer;
use serde::Serialize;

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
        // A large file, such as one of weights, is refused by its length, without reading it.
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

    /// The recipe without keys that do not decide results: paths of images and weights, strictness, threads,
    /// checkpoints and test accuracies in between. Runs whose deciding recipes and files are equal have equal results.
    /// (Every kernel of gnr-cpu gives equal bits for any number of threads, but this is only promised for equal
    /// numbers.)
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
        recipe.train.test_only_at_end = false;
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
