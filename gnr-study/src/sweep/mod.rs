//! A search over recipe keys on a held-out part of the training images, as the paper chose ρ and α: [`Sweep::plan`]
//! makes a run of every point of the grid, [`Sweep::run`] trains those that are not finished, several at a time, and
//! [`SweepResult`] says what was found and how sure that is.
//!
//! A sweep's folder: `runs/` with a run folder for each point, `sweep.json`, `heatmap.html`, `chosen.toml`.

mod grid;
mod heatmap;
mod result;

pub use grid::Axis;
pub(crate) use grid::{assignments, points};
pub use result::{Point, SweepResult};

use std::{path::PathBuf, sync::atomic::AtomicBool};

use gnr_train::{Recipe, RecipeError, recipe::Data, write_atomically};

use crate::{
    error::{Result, StudyError},
    lock::FolderLock,
    origin::Weights,
    results::is_finished,
    runner::{Run, StudyObserver, Trained, Workers, train_all},
    shard::Shard,
};

/// Fraction of the training images that is held out when the recipe holds out none: the paper's.
pub const VALIDATION: f64 = 0.1;

/// The key of the seed, which a study sets in each of its runs.
pub(crate) const SEED: &str = "train.seed";

/// The options of a sweep.
#[derive(Clone, Debug)]
pub struct SweepRequest {
    /// The grid: every combination of these values. Not empty.
    pub axes: Vec<Axis>,
    /// Number of seeds 0, 1, … of each combination. At least 1.
    pub seeds: u64,
    /// The sweep's folder.
    pub folder: PathBuf,
    /// Number of runs at a time, and of their threads.
    pub workers: Workers,
    /// The part of the runs to train; `None` for all. The result is that of all parts.
    pub shard: Option<Shard>,
}

/// The end of a sweep.
#[derive(Clone, Debug)]
pub enum SweepOutcome {
    /// Every run was finished or failed for good.
    Done(Box<SweepResult>),
    /// This part is done; runs of other parts are not.
    Waiting {
        /// Number of runs that are finished.
        done: usize,
        /// Number of all runs.
        of: usize,
        /// Names of the runs that are not finished.
        missing: Vec<String>,
    },
    /// The sweep was asked to stop; every run that had begun left a checkpoint.
    Interrupted,
}

/// A planned search.
#[derive(Clone, Debug)]
pub struct Sweep {
    request: SweepRequest,
    /// The combinations, as positions on the axes; the last axis moves fastest.
    points: Vec<Vec<usize>>,
    /// The runs, and the combination of each.
    runs: Vec<Run>,
    of: Vec<usize>,
    /// The recipe of each combination, to be trained on all images.
    chosen: Vec<Recipe>,
}

impl Sweep {
    /// Plans every run. `load` makes the recipe from `section.key=value` assignments (over its own file and
    /// assignments); a recipe that holds no validation images out gets [`VALIDATION`].
    ///
    /// # Errors
    /// A key with two axes, or the key of the seed; a combination that is no valid recipe; two combinations of one
    /// recipe; a sweep without validation images.
    pub fn plan(
        request: SweepRequest,
        load: impl Fn(&[String]) -> Result<Recipe, RecipeError>,
    ) -> Result<Self> {
        for (index, axis) in request.axes.iter().enumerate() {
            if request.axes[..index].iter().any(|earlier| earlier.key == axis.key) {
                let problem = format!("{} is swept twice: expected one list of its values", axis.key);
                return Err(StudyError::Request(problem));
            }
        }
        if request.axes.iter().any(|axis| axis.key == SEED) {
            return Err(StudyError::Request(format!(
                "{SEED} cannot be swept: every combination is trained with the seeds 0, 1, …; expected their number (--seeds)"
            )));
        }
        let points = grid::points(&request.axes);
        let (mut runs, mut of, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
        let mut held_out: Vec<Recipe> = Vec::new();
        for point in &points {
            let recipe = load(&grid::assignments(&request.axes, point))?;
            let mut run = Recipe { name: String::new(), ..recipe.clone() };
            if run.data.validation == 0.0 {
                run.data.validation = VALIDATION;
            }
            if let Some(equal) = held_out.iter().position(|earlier| *earlier == run) {
                let [one, other] =
                    [&points[equal], point].map(|point| grid::assignments(&request.axes, point).join(" "));
                return Err(StudyError::Request(format!(
                    "{one} and {other} are one recipe: expected values that differ in what is trained (a data.validation of 0 \
                     is {VALIDATION} in a sweep)"
                )));
            }
            held_out.push(run);
            chosen.push(recipe);
        }
        // Seeds are outermost, so that an interrupted sweep has looked at the whole grid.
        let weights = Weights::default();
        for seed in 0..request.seeds {
            for (index, (point, recipe)) in points.iter().zip(&chosen).enumerate() {
                let mut recipe = recipe.clone();
                if recipe.data.validation == 0.0 {
                    recipe.data.validation = VALIDATION;
                }
                recipe.train.seed = seed;
                let name = format!("{} seed={seed}", grid::assignments(&request.axes, point).join(" "));
                let folder =
                    request.folder.join("runs").join(folder_name(&name, &weights.deciding(&recipe)?)?);
                runs.push(Run { name, folder, recipe, cost: 1.0 });
                of.push(index);
            }
        }
        Ok(Self { request, points, runs, of, chosen })
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Always false: a grid has at least one combination.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, in the order in which they are trained.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of this part: all of them without a shard.
    pub fn mine(&self) -> Vec<Run> {
        self.request.shard.map_or_else(|| self.runs.clone(), |shard| shard.of(&self.runs))
    }

    /// Whether a run is finished.
    pub fn is_finished(run: &Run) -> bool {
        is_finished(&run.folder)
    }

    /// Opens the images of every combination and builds the first one's model, so that missing files are errors before
    /// any training. Returns the number of validation images of each combination.
    ///
    /// # Errors
    /// The errors of [`check`](gnr_train::check).
    pub fn check(&self) -> Result<Vec<usize>> {
        let mut known: Vec<(&Data, usize)> = Vec::new();
        // The runs of the first seed are the combinations in order.
        let combinations = self.runs.get(..self.points.len()).unwrap_or_default();
        for run in combinations {
            if known.iter().any(|(data, _)| **data == run.recipe.data) {
                continue;
            }
            let images = gnr_train::check(run.recipe.clone())?.validation_images.ok_or_else(|| {
                StudyError::Request(
                    "a sweep chooses by validation accuracy, and data.validation holds no image out".into(),
                )
            })?;
            known.push((&run.recipe.data, images));
        }
        let of = |run: &Run| known.iter().find(|(data, _)| **data == run.recipe.data);
        Ok(combinations.iter().filter_map(|run| Some(of(run)?.1)).collect())
    }

    /// Trains the runs that are not finished and writes `sweep.json`, `heatmap.html` and `chosen.toml`. Setting `stop`
    /// ends the runs after their current step, with checkpoints.
    ///
    /// # Errors
    /// [`StudyError::Locked`] when another sweep works in the folder, an error of the disk (which would meet every
    /// run), a sweep of which no run succeeded. A run that fails alone is told to the observer and in the result.
    pub fn run(&self, observer: &mut (dyn StudyObserver + Send), stop: &AtomicBool) -> Result<SweepOutcome> {
        let folder = &self.request.folder;
        let _alone = FolderLock::take(folder, "sweep", self.request.shard)?;
        let validation_images = self.check()?;
        let mine = self.mine();
        let mut failures = match train_all(&mine, self.request.workers, observer, stop)? {
            Trained::All(failures) => failures,
            Trained::Interrupted => return Ok(SweepOutcome::Interrupted),
        };
        for failure in &mut failures {
            let folder = &mine[failure.run].folder;
            failure.run = self.runs.iter().position(|run| run.folder == *folder).unwrap_or(failure.run);
        }
        let missing: Vec<_> = self.runs.iter().filter(|run| !Self::is_finished(run)).collect();
        if self.request.shard.is_some() && missing.len() > failures.len() {
            let (of, done) = (self.runs.len(), self.runs.len() - missing.len());
            let missing = missing.into_iter().map(|run| run.name.clone()).collect();
            return Ok(SweepOutcome::Waiting { done, of, missing });
        }
        let found = result::collect(self, &validation_images, &failures)?;
        let write = |name: &str, text: String| write_atomically(&folder.join(name), text.as_bytes());
        write("sweep.json", found.to_json()?)?;
        write("heatmap.html", found.to_html())?;
        write("chosen.toml", found.chosen_recipe()?)?;
        Ok(SweepOutcome::Done(Box::new(found)))
    }
}

/// The name of a run's folder, readable and different for every recipe: the values, then a checksum of the deciding
/// keys.
fn folder_name(name: &str, deciding: &Recipe) -> Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "=.-_".contains(c) { c } else { '_' };
    // The last word of a key says enough.
    let words = name.split(' ').map(|word| match word.split_once('=') {
        Some((key, value)) => format!("{}={value}", key.rsplit('.').next().unwrap_or(key)),
        None => word.to_owned(),
    });
    let readable: String = words.collect::<Vec<_>>().join("_").chars().map(plain).take(120).collect();
    Ok(format!("{readable}-{:08x}", crc32c::crc32c(deciding.to_toml()?.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(axes: &[&str]) -> Result<Sweep> {
        let request = SweepRequest {
            axes: axes.iter().map(|axis| axis.parse().unwrap()).collect(),
            seeds: 2,
            folder: PathBuf::from("sweep"),
            workers: Workers { jobs: 1, threads: 1 },
            shard: None,
        };
        Sweep::plan(request, |words| Recipe::parse("test", "test", "", words))
    }

    #[test]
    fn values_that_decide_nothing_are_refused() {
        let refused = |axes: &[&str]| plan(axes).unwrap_err().to_string();
        assert!(refused(&["train.seed=1,2"]).starts_with("train.seed cannot be swept"));
        let words = refused(&["optimizer.lr=0.1,0.2", "data.validation=0.0,0.1"]);
        let both =
            "optimizer.lr=0.1 data.validation=0.0 and optimizer.lr=0.1 data.validation=0.1 are one recipe";
        assert!(words.starts_with(both), "{words}");
        assert_eq!(plan(&["data.validation=0.0,0.2"]).unwrap().len(), 4);
    }

    #[test]
    fn every_combination_has_its_own_number_of_validation_images() {
        let images = plan(&["data.validation=0.1,0.2", "optimizer.lr=0.1,0.2"]).unwrap().check().unwrap();
        assert!(images[0] == images[1] && images[2] == images[3] && images[2] > images[0], "{images:?}");
    }
}
