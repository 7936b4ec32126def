//! A search over recipe keys on a held-out part of the training images, as the paper chose ρ and α: [`Sweep::plan`] makes a run
//! of every point of the grid, [`Sweep::run`] trains those that are not finished, several at a time, and [`SweepResult`] says
//! what was found and how sure that is.
//!
//! A sweep's folder: `runs/` with a run folder for each point, `sweep.json`, `heatmap.html`, `chosen.toml`.

mod grid;
mod heatmap;
mod result;
mod schedule;

pub use grid::Axis;
pub use result::{Point, SweepResult};
pub use schedule::{Finished, SweepObserver, SweepOutcome};

use std::path::{Path, PathBuf};

use crate::{
    error::{Result, TrainError},
    recipe::{Recipe, RecipeError},
    trainer::neutral,
};

/// Fraction of the training images that is held out when the recipe holds out none: the paper's.
pub const VALIDATION: f64 = 0.1;

/// What is searched and how.
#[derive(Clone, Debug)]
pub struct SweepRequest {
    /// The grid: every combination of these values. Not empty.
    pub axes: Vec<Axis>,
    /// Seeds 0, 1, … of each combination. At least 1.
    pub seeds: u64,
    /// The sweep's folder.
    pub folder: PathBuf,
    /// Runs at a time. At least 1.
    pub jobs: usize,
    /// Threads of each run; 0: the cores shared among the jobs.
    pub threads: usize,
}

/// One training of the grid.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Index of the combination.
    pub(crate) point: usize,
    pub(crate) seed: u64,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) recipe: Recipe,
}

/// A planned search.
#[derive(Clone, Debug)]
pub struct Sweep {
    request: SweepRequest,
    /// The combinations, as positions on the axes; the last axis moves fastest.
    points: Vec<Vec<usize>>,
    cells: Vec<Cell>,
    /// The recipe of each combination, to be trained on all images.
    chosen: Vec<Recipe>,
}

impl Sweep {
    /// Plans every run. `load` makes the recipe from `section.key=value` assignments (over its own file and assignments); a
    /// recipe that holds no validation images out gets [`VALIDATION`].
    ///
    /// # Errors
    /// A combination that is no valid recipe; a sweep without validation images.
    pub fn plan(
        request: SweepRequest,
        load: impl Fn(&[String]) -> Result<Recipe, RecipeError>,
    ) -> Result<Self> {
        let points = grid::points(&request.axes);
        let (mut cells, mut chosen) = (Vec::new(), Vec::new());
        for (index, point) in points.iter().enumerate() {
            let assignments = grid::assignments(&request.axes, point);
            let recipe = load(&assignments)?;
            chosen.push(recipe.clone());
            for seed in 0..request.seeds {
                let mut recipe = recipe.clone();
                if recipe.data.validation == 0.0 {
                    recipe.data.validation = VALIDATION;
                }
                recipe.train.seed = seed;
                let name = format!("{} seed={seed}", assignments.join(" "));
                let folder = request.folder.join("runs").join(folder_name(&name, &recipe)?);
                cells.push(Cell { point: index, seed, name, folder, recipe });
            }
        }
        // Seeds outermost: an interrupted sweep has looked at the whole grid.
        cells.sort_by_key(|cell| cell.seed);
        Ok(Self { request, points, cells, chosen })
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Never: a grid has at least one combination.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Name and folder of every run, and whether it is finished.
    pub fn runs(&self) -> impl Iterator<Item = (&str, &Path, bool)> {
        self.cells
            .iter()
            .map(|cell| (cell.name.as_str(), cell.folder.as_path(), result::is_finished(&cell.folder)))
    }

    /// Opens the images and builds the model of the first run: what is missing is an error before any training. Returns the
    /// number of validation images.
    ///
    /// # Errors
    /// As [`check`](crate::check).
    pub fn check(&self) -> Result<usize> {
        let Some(first) = self.cells.first() else { return Ok(0) };
        crate::check(first.recipe.clone())?;
        let views = crate::data::views(&first.recipe.data)?;
        match views.validation {
            Some(images) => Ok(images.len()),
            None => Err(TrainError::Folder {
                path: self.request.folder.clone(),
                problem: "a sweep chooses by validation accuracy, and data.validation holds no image out"
                    .into(),
            }),
        }
    }
}

/// Readable, and different for every recipe: the values, then a checksum of all that decides the run.
fn folder_name(name: &str, recipe: &Recipe) -> Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "=.-_".contains(c) { c } else { '_' };
    // Of a key the last word says enough.
    let words = name.split(' ').map(|word| match word.split_once('=') {
        Some((key, value)) => format!("{}={value}", key.rsplit('.').next().unwrap_or(key)),
        None => word.to_owned(),
    });
    let readable: String = words.collect::<Vec<_>>().join("_").chars().map(plain).take(120).collect();
    Ok(format!("{readable}-{:08x}", crc32c::crc32c(neutral(recipe).to_toml()?.as_bytes())))
}
