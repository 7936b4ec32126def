//! The readers of files, applied to contents instead of files, for tests that damage files a million times. Feature
//! `testing`.

use std::path::Path;
use std::sync::LazyLock;

use gnr_cpu::Cpu;
use gnr_models::weights::WeightFile;
use gnr_nn::{Layout, Model};
use serde_json::{Value, json};

use crate::{
    CheckpointFile, Recipe, classes,
    curvature::state,
    error::{Result, TrainError},
    fingerprint::Fingerprints,
    geometry::points,
    method::Configured,
    metrics, run, select,
};

/// A reader of a file's contents.
pub type Reader = fn(&[u8]) -> Result<()>;

/// All readers, by name.
pub const READERS: &[(&str, Reader)] = &[
    ("recipe", |bytes| recipe(text(bytes)?, &[])),
    ("assignment", |bytes| recipe(RECIPE, &[text(bytes)?.to_owned()])),
    ("class-map", |bytes| {
        let refuse = |problem| TrainError::ClassMap { map: FILE.into(), problem };
        classes::parse(text(bytes)?, &[]).map(drop).map_err(refuse)
    }),
    ("checkpoint", checkpoint),
    ("images-record", images_record),
    ("metrics", |bytes| match metrics::left(bytes, 10, 1).map_err(TrainError::Request)? {
        (kept, _) if kept == bytes.len() => Ok(()),
        _ => Err(TrainError::Request("lines are cut off".into())),
    }),
    ("points", |bytes| points::parse(FILE.as_ref(), bytes, &request()).map(drop)),
    ("state", |bytes| {
        state::parse(FILE.as_ref(), bytes, &[&request()], |values| Ok(values.to_vec())).map(drop)
    }),
];

/// The path that errors name.
const FILE: &str = "FILE";

/// The recipe of the run whose checkpoints are read; its model has 85 parameters.
pub const RECIPE: &str = "[model]\nname = \"mlp\"\nwidths = [1]\n[train]\nthreads = 1\nworkers = 0\nepochs = 1\nbatch_size = 4\n[data]\nsubset = { per_class = 2 }\n";

/// The request of all points and states.
pub fn request() -> Value {
    json!({ "seed": 1 })
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| TrainError::Request(format!("not UTF-8: {error}")))
}

/// Parses a recipe. If it is valid, its text must parse to an equal recipe.
fn recipe(text: &str, sets: &[String]) -> Result<()> {
    let recipe = Recipe::parse(FILE, "run", text, sets)?;
    let again = Recipe::parse(FILE, "run", &recipe.to_toml()?, &[])?;
    assert!(recipe == again, "{recipe:?} is not {again:?}");
    Ok(())
}

/// Reads a checkpoint's header, model and optimiser.
fn checkpoint(bytes: &[u8]) -> Result<()> {
    static RUN: LazyLock<Result<(Recipe, Layout)>> = LazyLock::new(|| {
        let recipe = Recipe::parse(FILE, "run", RECIPE, &[])?;
        let layout = run::build(&recipe.model, 10, [1, 8, 8])?.layout().clone();
        Ok((recipe, layout))
    });
    let (recipe, layout) =
        RUN.as_ref().map_err(|error| TrainError::Request(format!("the recipe itself: {error}")))?;
    let file = CheckpointFile::of(FILE.as_ref(), WeightFile::from_bytes(FILE, bytes.to_vec())?)?;
    file.model(layout)?;
    let backend = Cpu::<f32>::new();
    let groups = select::groups(recipe, layout, None)?;
    let mut configured = Configured::new(recipe, &groups, 1, 1)?;
    file.optimizer(&backend, layout, None, configured.method.optimizer.as_mut())
}

/// Reads a record of a run's images, and compares it with another one.
fn images_record(bytes: &[u8]) -> Result<()> {
    let part = json!({
        "images": 2, "shape": [1, 8, 8], "classes": [["a", 1], ["b", 1]], "labels": "0", "pixels": "0", "pixel_images": 2,
    });
    let now = json!({ "train": part, "test": part });
    let path = Path::new(FILE);
    let now = Fingerprints::parse(path, &now.to_string())?;
    now.differences(&Fingerprints::parse(path, text(bytes)?)?);
    Ok(())
}
