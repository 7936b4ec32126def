//! From a recipe to a finished run: the loop, evaluation, checkpoints, metrics. Only here do algorithms, networks, data
//! and backend meet.
//!
//! - [`Recipe`]: everything that decides a run, from TOML and back.
//! - [`train`], [`resume`]: a run in its folder. A run that is stopped at any moment and resumed has the checkpoints of
//!   a run that never stopped, byte for byte.
//! - [`eval()`]: a checkpoint or published weights on a data set.
//! - [`measure()`]: measurements of a checkpoint on a fixed sample of images, such as its curvature.
//! - [`Observer`]: lets a program watch; the library prints nothing.
//!
//! ```
//! use gnr_train::{Recipe, check};
//!
//! let text = "[model]\nname = 'mlp'\n[method.gnr]\nrho = 0.2\n[train]\nbatch_size = 64\n";
//! let recipe = Recipe::parse("my.toml", "my", text, &["train.epochs=3".into()])?;
//! assert_eq!(recipe.method_name(), "SGD + GNR (exact)");
//! let plan = check(recipe)?; // opens the images (embedded digits) and builds the model; `train` takes the same recipe
//! assert_eq!((plan.training_images, plan.steps_per_epoch), (1437, 22));
//!
//! let typo = Recipe::parse("my.toml", "my", "[train]\nepoch = 3\n", &[]).unwrap_err();
//! assert!(typo.to_string().contains("epochs"), "{typo}");
//! # Ok::<(), gnr_train::TrainError>(())
//! ```

mod atomic;
mod average;
mod backend;
mod bench;
mod checkpoint;
mod choice;
mod classes;
mod data;
mod devices;
mod doubts;
mod elapsed;
mod error;
mod eval;
mod evaluate;
mod exchange;
mod fingerprint;
mod folder;
mod identity;
mod loader_bench;
pub mod measure;
mod memory;
mod method;
mod metrics;
mod observer;
mod pieces;
mod pool;
mod ranks;
pub mod recipe;
mod run;
mod select;
mod summary;
mod team;
mod tensorboard;
#[cfg(feature = "testing")]
pub mod testing;
mod trainer;

pub use atomic::write_atomically;
pub use bench::{BenchLine, BenchRequest, Timed, bench};
pub use checkpoint::{
    CheckpointFile, Collapse, Extension, Flipped, Header, Move, Progress, Sums, kept_checkpoints,
};
pub use choice::Choice;
pub use classes::ClassMap;
pub use devices::{Backend, Card, Devices, devices, processor};
pub use error::{Result, TrainError};
pub use eval::{EvalReport, EvalRequest, Split, eval, eval_in};
pub use evaluate::{ClassResult, Evaluation, evaluate, evaluate_mapped};
pub use fingerprint::changed_images;
pub use folder::{is_run, next_free, recipe_of};
pub use loader_bench::{LoaderReport, loader_bench};
pub use measure::{curvature, geometry, subject};
pub use metrics::EpochMetrics;
pub use observer::{BestBy, Observer, Start, StepEvent};
pub use recipe::{Device, Engine, Place, Precision, Recipe, RecipeError};
pub use run::{Existing, Plan, check, extended, resume, train, train_in, train_on};
pub use subject::{Measurement, Sample, Subject, SubjectRequest, measure};
pub use summary::{Best, NoiseCount, Summary, VERSION, commit, set_commit};
pub use team::Team;
pub use tensorboard::EventWriter;
pub use trainer::Outcome;

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
