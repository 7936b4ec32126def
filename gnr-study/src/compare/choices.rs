//! The settings that tuning chose in one comparison, for use in another: tuned on few images, compared on many.

use std::path::{Path, PathBuf};

use gnr_train::Recipe;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{
    arm::{AVERAGE, Arm},
    lines,
    outcome::{ArmResult, Comparison, Tuned},
};
use crate::{
    error::{Result, StudyError},
    recipe_keys::{self, there_and_here},
};

/// A finished comparison that tuned its methods.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Absolute path of its `compare.json`.
    path: PathBuf,
    there: Comparison,
    /// The recipe of that comparison, without engine and device, which this program may lack.
    recipe: String,
}

/// Origin of the settings of a comparison that did not tune its methods itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunedIn {
    /// Absolute path of the `compare.json` with the choices.
    pub path: String,
    /// The command of that comparison.
    pub command: String,
    /// Version and commit of the program of that comparison.
    pub program: String,
    /// The settings of each method that were chosen there, as `section.key=value`.
    pub settings: Vec<Vec<String>>,
    /// Keys of the methods' recipes that have another value there, each line with both values.
    pub differences: Vec<String>,
}

/// Keys that are no difference between two comparisons: each run has its own seed, and the rest decides no result or
/// only its rounding.
const SKIPPED: [&str; 6] =
    ["name", "train.seed", "train.eval_every", "train.backend", "train.device", "train.channels_last"];

impl Choices {
    /// Reads the folder of a comparison, or its `compare.json`.
    ///
    /// # Errors
    /// A file that is missing, cannot be read or is none of ours; a comparison in which nothing was tuned.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join("compare.json") } else { path.to_path_buf() };
        let file = std::path::absolute(&file).unwrap_or(file);
        let wrong = |problem: String| StudyError::File { path: file.clone(), problem };
        if path.is_dir() && !file.exists() {
            return Err(wrong("not found; expected the folder of a finished `gnr compare --tune`".into()));
        }
        let there = Comparison::read(&file)?;
        if let Some(TunedIn { path, .. }) = &there.tuned_in {
            return Err(wrong(format!(
                "expected a comparison that tuned its methods; this one has the choices of {path}: name that file"
            )));
        }
        if there.tuning.is_empty() {
            return Err(wrong(
                "expected a comparison that tuned its methods (--tune); this one did not".into(),
            ));
        }
        for tuned in there.tuning.iter().filter(|tuned| tuned.failure.is_none()) {
            let arm = there.arms.iter().find(|arm| arm.name == tuned.arm);
            if let Some(problem) = damage(tuned, arm) {
                return Err(wrong(format!("tuning of method `{}`: {problem}", tuned.arm)));
            }
        }
        let mut recipe: Table =
            there.recipe.parse().map_err(|error| wrong(format!("its recipe is no TOML: {error}")))?;
        if let Some(Value::Table(train)) = recipe.get_mut("train") {
            train.retain(|key, _| !["backend", "device", "channels_last"].contains(&key));
        }
        Ok(Self { recipe: recipe.to_string(), path: file, there })
    }

    /// The value of every key that tuning varies for a method, as `section.key=value`: the learning rate and the weight
    /// decay, and the method's own keys. Keys that its best try left as they were have the value of the recipe there.
    ///
    /// # Errors
    /// A method of a name that was not tuned there, or of which every try failed there; a recipe that this version of
    /// the program cannot read.
    pub fn settings(&self, arm: &Arm) -> Result<Vec<String>> {
        let recipe = self.resolved(arm)?;
        let values = recipe_keys::values(&recipe).unwrap_or_default();
        let axes = Arm::axes(&recipe).into_iter().chain(Arm::optimizer_axes(&recipe));
        Ok(axes.filter_map(|axis| Some(format!("{}={}", axis.key, values.get(&axis.key)?))).collect())
    }

    /// The [`settings`](Self::settings) of a method whose recipe averages its weights or does not. An older program
    /// tuned with the recipe's averaging where the method is now without.
    pub(super) fn settings_where(&self, arm: &Arm, averages: bool) -> Result<Vec<String>> {
        let mut settings = self.settings(arm)?;
        settings.retain(|setting| averages || !setting.starts_with(AVERAGE));
        Ok(settings)
    }

    /// The first of these assignments that sets a key which the [`settings`](Self::settings) of a method set, too, with
    /// that setting.
    pub fn clash<'a>(settings: &'a [String], assignments: &'a [String]) -> Option<(&'a str, &'a str)> {
        let key = |word: &'a str| word.split('=').next();
        assignments.iter().find_map(|own| {
            let setting = settings.iter().find(|setting| key(setting) == key(own))?;
            Some((own.as_str(), setting.as_str()))
        })
    }

    /// Path of the file with the choices.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file lies in this folder.
    pub(super) fn within(&self, folder: &Path) -> bool {
        let real = |path: Option<&Path>| path.and_then(|path| path.canonicalize().ok());
        let folder = real(Some(folder));
        let target = real(Some(&self.path));
        folder.is_some()
            && (folder == real(self.path.parent())
                || folder.as_deref() == target.as_deref().and_then(Path::parent))
    }

    /// The tuning of a method there, found by its name.
    ///
    /// # Errors
    /// A method of a name that was not tuned there, or of which every try failed there.
    pub(super) fn tuning(&self, arm: &Arm) -> Result<&Tuned> {
        let (path, name) = (self.path.display(), &arm.name);
        let tuned = self.there.tuning.iter().find(|tuned| tuned.arm == *name);
        match tuned.map(|tuned| (tuned, &tuned.failure)) {
            Some((tuned, None)) => Ok(tuned),
            Some((_, Some(reason))) => Err(StudyError::Request(format!(
                "{path}: nothing was chosen for method `{name}` there, because every try failed: {reason}"
            ))),
            None => {
                let names: Vec<&str> = self.there.tuning.iter().map(|tuned| &*tuned.arm).collect();
                Err(StudyError::Request(format!(
                    "{path}: method `{name}` was not tuned there; tuned were {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// Tells where the settings come from. `here` is the title and the recipe of each method of the comparison at hand,
    /// settings included.
    ///
    /// # Errors
    /// The errors of [`settings`](Self::settings).
    pub(super) fn origin(&self, arms: &[Arm], here: &[(String, Recipe)]) -> Result<TunedIn> {
        let (mut settings, mut differences) = (Vec::new(), Vec::new());
        for (arm, (title, recipe)) in arms.iter().zip(here) {
            let differ = there_and_here(&comparable(&self.resolved(arm)?), &comparable(recipe));
            let differ = differ.into_iter().filter(|(key, _)| !SKIPPED.contains(&&**key));
            let line =
                |(key, [there, here]): (String, [String; 2])| format!("{key}: {there} there, {here} here");
            differences.push((title.clone(), differ.map(line).collect()));
            settings.push(self.settings_where(arm, recipe.train.average.is_some())?);
        }
        Ok(TunedIn {
            path: self.path.to_string_lossy().into_owned(),
            command: self.there.command.clone(),
            program: self.there.program.clone(),
            settings,
            differences: lines::merged(&differences),
        })
    }

    /// The tuned recipe of a method in that comparison.
    fn resolved(&self, arm: &Arm) -> Result<Recipe> {
        let name = &self.tuning(arm)?.arm;
        let words = self.there.arms.iter().find(|there| there.name == *name).map(|there| &there.assignments);
        let origin = format!("the recipe in {}", self.path.display());
        let load = |words: &[String]| Recipe::parse(&origin, "run", &self.recipe, words);
        // A resolved recipe sets every key of its optimiser, also those that the method's optimiser does not have.
        let there = Arm::of_assignments(name, words.cloned().unwrap_or_default());
        Ok(load(&there.fitted(&load(&[])?, load).0)?)
    }
}

/// The recipe's deciding keys with the paths of images and weights, because other files may have other contents.
fn comparable(recipe: &Recipe) -> Recipe {
    let mut comparable = recipe.deciding();
    comparable.data.dir.clone_from(&recipe.data.dir);
    comparable.model.weights.clone_from(&recipe.model.weights);
    comparable
}

/// The first inconsistency in the tuning of a method, in words; `None` if there is none. Somebody may have changed the
/// file.
fn damage(tuned: &Tuned, arm: Option<&ArmResult>) -> Option<String> {
    let count = tuned.tries.len();
    if let Some(index) = tuned.finalists.iter().chain([&tuned.best]).find(|&&index| index >= count) {
        return Some(format!("expected the index of one of {count} tries, found {index}"));
    }
    if tuned.tries[tuned.best].mean().is_none_or(|mean| !(0.0..=1.0).contains(&mean)) {
        return Some("expected accuracies between 0 and 1 of the chosen try".into());
    }
    let used = arm.is_some_and(|arm| arm.assignments.ends_with(&tuned.chosen()));
    (!used).then(|| "expected runs with the chosen settings, found none".into())
}
