//! The results of a comparison as data: `compare.json`.

use std::{fs, path::Path};

use gnr_train::{EpochMetrics, Recipe, RecipeError};
use serde::{Deserialize, Serialize};

use super::{
    Compare, Planned, arm,
    choices::TunedIn,
    measure::Sharpness,
    tune::{self, Try},
};
use crate::{
    error::{Result, StudyError},
    results::{epochs, finished_summary, is_finished},
    runner::Failure,
    statistics::{Summary, Verdict},
};

/// A finished comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The recipe's name.
    pub name: String,
    /// The command of the comparison.
    pub command: String,
    /// Version of the program, and the commit where the build knew it.
    pub program: String,
    /// The recipe that every method changes, as TOML.
    pub recipe: String,
    /// The images in words.
    pub data: Vec<String>,
    /// Number of scalar parameters that are learned.
    pub parameters: usize,
    /// Each method with its runs; differences are taken to the first.
    pub arms: Vec<ArmResult>,
    /// The tries of each method, when it was tuned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<Tuned>,
    /// The comparison to which the tries belong, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned_in: Option<TunedIn>,
    /// Name and reason of each run that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<(String, String)>,
}

/// The tries of one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuned {
    /// The method's name.
    pub arm: String,
    /// The tries, in the order in which they were planned.
    pub tries: Vec<Try>,
    /// Index of the best try.
    pub best: usize,
    /// Indices of the best tries, which were trained with further seeds; those that then failed included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalists: Vec<usize>,
    /// Keys whose chosen value is at the edge of its grid, with the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_edge: Vec<String>,
    /// Why a try failed, if every try did: then nothing was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Tuned {
    /// The tuning of a method before its first try.
    pub(super) fn new(arm: &str) -> Self {
        Self {
            arm: arm.into(),
            tries: Vec::new(),
            best: 0,
            finalists: Vec::new(),
            at_edge: Vec::new(),
            failure: None,
        }
    }

    /// Chooses the best of the tries so far. If all of them failed, the first one stands for the choice, so that later
    /// tries begin at the recipe; `reason` says why a try of this phase failed, if one did.
    pub(super) fn judged(&mut self, reason: Option<&str>) {
        if let Some(best) = tune::best(&self.tries) {
            (self.best, self.failure) = (best, None);
        } else {
            self.best = 0;
            let reason = reason.unwrap_or("one of its seeds failed");
            self.failure.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// The assignments of the best try; empty before the first one.
    pub fn chosen(&self) -> Vec<String> {
        self.tries.get(self.best).map(|best| best.assignments.clone()).unwrap_or_default()
    }

    /// The assignments of the best try in words.
    pub fn in_words(&self) -> String {
        tune::in_words(&self.chosen())
    }
}

/// The results of one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmResult {
    /// Name of the method.
    pub name: String,
    /// The method's title in tables.
    pub title: String,
    /// The assignments over the recipe, those of tuning included.
    pub assignments: Vec<String>,
    /// The finished runs, by seed. Empty if every seed failed.
    pub runs: Vec<RunResult>,
}

/// One finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Seed of initialisation, order and augmentation.
    pub seed: u64,
    /// Test accuracy after the last epoch, a fraction: that of the averaged weights where the run averages.
    pub test_accuracy: f64,
    /// The highest test accuracy of all epochs, a fraction. The test images choose that epoch, so this number is
    /// optimistic.
    pub best_test_accuracy: f64,
    /// Training accuracy of the last epoch on images whose labels were flipped, a fraction, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_flipped: Option<f64>,
    /// Training accuracy of the last epoch on the other images, where some labels were flipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy_untouched: Option<f64>,
    /// Number of epochs done when the run collapsed: from that evaluation on, every validation (or else test) image got
    /// the same output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapsed_at_epoch: Option<u64>,
    /// Wall-clock seconds of all steps, without evaluation.
    pub seconds: f64,
    /// Mean number of gradients of a whole batch in a step.
    pub gradients_per_step: f64,
    /// Mean number of Hessian-vector or Gauss–Newton products in a step.
    pub products_per_step: f64,
    /// Commit of the program that trained the run, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Sharpness at the weights of the run, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<Sharpness>,
    /// Epoch and test accuracy, a fraction, of every epoch that was evaluated.
    pub curve: Vec<(u64, f64)>,
}

/// A difference to another method over the seeds that both have finished.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Index of the method.
    pub arm: usize,
    /// Index of the method with which it is compared.
    pub base: usize,
    /// Differences in percentage points, method − base.
    pub points: Summary,
    /// The verdict, which takes all differences together.
    pub verdict: Verdict,
}

impl ArmResult {
    /// Summarises over seeds the value that `value` takes from each run; `None` when no run has one.
    pub fn over_seeds(&self, value: impl Fn(&RunResult) -> Option<f64>) -> Option<Summary> {
        Summary::of(&self.runs.iter().filter_map(value).collect::<Vec<_>>())
    }

    /// Test accuracy after the last epoch in per cent.
    pub fn accuracy(&self) -> Option<Summary> {
        self.over_seeds(|run| Some(100.0 * run.test_accuracy))
    }
}

impl Comparison {
    /// The paired differences of every method to the first, with a reading that takes all of them together.
    pub fn differences(&self) -> Vec<Difference> {
        self.paired((1..self.arms.len()).map(|arm| (arm, 0)))
    }

    /// The paired differences of the methods after the first to each other, later − earlier, with a reading that takes
    /// all of them together. They are not among [`differences`](Self::differences), because the reading of these would
    /// lose statistical power.
    pub fn differences_between(&self) -> Vec<Difference> {
        let arms = 1..self.arms.len();
        self.paired(arms.flat_map(|base| (base + 1..self.arms.len()).map(move |arm| (arm, base))))
    }

    /// The paired differences of these pairs (method, base), over the seeds that both have.
    fn paired(&self, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<Difference> {
        let mut found: Vec<Difference> = Vec::new();
        for (arm, base) in pairs {
            let points = self.arms[arm].runs.iter().filter_map(|run| {
                let other = self.arms[base].runs.iter().find(|other| other.seed == run.seed)?;
                Some(100.0 * (run.test_accuracy - other.test_accuracy))
            });
            if let Some(points) = Summary::of(&points.collect::<Vec<_>>()) {
                found.push(Difference { arm, base, points, verdict: Verdict::Unknown });
            }
        }
        let verdicts = Verdict::of_all(&found.iter().map(|difference| difference.points).collect::<Vec<_>>());
        for (difference, verdict) in found.iter_mut().zip(verdicts) {
            difference.verdict = verdict;
        }
        found
    }

    /// Reads `compare.json`.
    ///
    /// # Errors
    /// A file that cannot be read or is none of ours.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(crate::error::io(path, "read"))?;
        serde_json::from_str(&text).map_err(|error| StudyError::File {
            path: path.to_path_buf(),
            problem: format!("expected what `gnr compare` writes: {error}"),
        })
    }

    /// Assigns measured sharpness to its runs, by arm and seed.
    pub(super) fn sharpness(&mut self, measured: &[(usize, u64, Sharpness)]) {
        for (arm, seed, sharpness) in measured {
            let mut runs = self.arms[*arm].runs.iter_mut();
            if let Some(run) = runs.find(|run| run.seed == *seed) {
                run.sharpness = Some(*sharpness);
            }
        }
    }
}

impl<L: Fn(&[String]) -> Result<Recipe, RecipeError>> Compare<L> {
    /// Reads the finished runs.
    ///
    /// # Errors
    /// A run that cannot be read; no finished run of any method.
    pub(super) fn collect(
        &self,
        planned: &Planned,
        over: &[Vec<String>],
        tuning: Vec<Tuned>,
        failures: &[Failure],
        plan: &gnr_train::Plan,
    ) -> Result<Comparison> {
        let mut arms = Vec::new();
        let recipes = over.iter().map(|words| (self.load)(words)).collect::<Result<Vec<_>, _>>()?;
        let titles = arm::titles(&self.request.arms, &recipes);
        for (index, ((arm, words), title)) in self.request.arms.iter().zip(over).zip(titles).enumerate() {
            let mut runs = Vec::new();
            for (run, _) in planned.runs.iter().zip(&planned.arms).filter(|(_, of)| **of == index) {
                if is_finished(&run.folder) {
                    runs.push(result(run.recipe.train.seed, &run.folder)?);
                }
            }
            runs.sort_by_key(|run| run.seed);
            arms.push(ArmResult { name: arm.name.clone(), title, assignments: words.clone(), runs });
        }
        let untuned = tuning.iter().filter_map(|tuned| {
            let reason = tuned.failure.as_ref()?;
            Some((tuned.arm.clone(), format!("not trained, because every try failed: {reason}")))
        });
        let failures = failures.iter().map(|f| (f.name.clone(), f.reason.clone()));
        let failures: Vec<(String, String)> = untuned.chain(failures).collect();
        if arms.iter().all(|arm| arm.runs.is_empty()) {
            let (name, reason) = failures.first().map_or(("of any method", "none is finished"), |failure| {
                (failure.0.as_str(), failure.1.as_str())
            });
            return Err(StudyError::Request(format!("no run was trained to its end; {name}: {reason}")));
        }
        let commit = gnr_train::commit().map_or_else(String::new, |commit| format!(", commit {commit}"));
        Ok(Comparison {
            name: self.recipe.name.clone(),
            command: self.request.command.clone(),
            program: format!("gnr {}{commit}", gnr_train::VERSION),
            recipe: self.recipe.to_toml()?,
            data: plan.data.clone(),
            parameters: plan.learned,
            arms,
            tuning,
            tuned_in: None,
            failures,
        })
    }
}

fn result(seed: u64, folder: &Path) -> Result<RunResult> {
    let (summary, epochs) = (finished_summary(folder)?, epochs(folder)?);
    let accuracy = |epoch: &EpochMetrics| epoch.average_test_accuracy.or(epoch.test_accuracy);
    let curve: Vec<(u64, f64)> =
        epochs.iter().filter_map(|epoch| Some((epoch.epoch, accuracy(epoch)?))).collect();
    let test_accuracy = summary.method_accuracy().unwrap_or_default();
    let steps = summary.steps.filter(|steps| *steps > 0).unwrap_or(1) as f64;
    let last = epochs.last();
    Ok(RunResult {
        seed,
        test_accuracy,
        best_test_accuracy: curve.iter().map(|(_, accuracy)| *accuracy).fold(test_accuracy, f64::max),
        train_accuracy_flipped: last.and_then(|epoch| epoch.train_accuracy_flipped),
        train_accuracy_untouched: last.and_then(|epoch| epoch.train_accuracy_untouched),
        collapsed_at_epoch: summary.collapsed_at_epoch,
        seconds: epochs.iter().map(|epoch| epoch.train_seconds.unwrap_or(epoch.seconds)).sum(),
        gradients_per_step: summary.gradient_evaluations.unwrap_or_default() / steps,
        products_per_step: summary.products.unwrap_or_default() / steps,
        commit: summary.commits(),
        sharpness: None,
        curve,
    })
}

impl Comparison {
    /// Whether a recipe differs from this comparison's in nothing but method, name and seed.
    ///
    /// # Errors
    /// A recipe of another version of the program.
    pub fn is_about(&self, recipe: &Recipe) -> Result<bool> {
        let theirs = Recipe::parse("compare.json", "run", &self.recipe, &[])?;
        let bare = |recipe: &Recipe| {
            let mut bare = recipe.deciding();
            bare.name.clear();
            (bare.method, bare.train.seed) = (theirs.method.clone(), 0);
            bare
        };
        Ok(bare(recipe) == bare(&theirs))
    }

    /// The accuracy of the first method, in words, if it is the recipe's optimiser alone: not tuned, without
    /// regularisers and without settings of its own.
    pub fn baseline(&self) -> Option<String> {
        let base = self.arms.first()?;
        let parse = |words: &[String]| Recipe::parse("compare.json", "run", &self.recipe, words).ok();
        let (theirs, own) = (parse(&[])?, parse(&base.assignments)?);
        let alone = own.method.regularizers.is_empty();
        let plain = Recipe { method: theirs.method.clone(), ..own } == theirs;
        if !alone || !plain || !self.tuning.is_empty() {
            return None;
        }
        Some(format!(
            "{} alone reaches {:.1} % here ({} seeds, `{}`)",
            base.title,
            base.accuracy()?,
            base.runs.len(),
            self.command.trim_end()
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A comparison whose first method has these assignments over a recipe with GNR.
    fn comparison(assignments: &[&str], tuned: bool) -> Comparison {
        let run = json!({
            "seed": 0, "test_accuracy": 0.5, "best_test_accuracy": 0.5, "seconds": 1.0, "gradients_per_step": 1.0,
            "products_per_step": 0.0, "curve": [],
        });
        let tries = json!([{ "arm": "base", "tries": [], "best": 0 }]);
        let whole = json!({
            "name": "r", "command": "gnr compare", "program": "gnr", "recipe": "method.gnr = true", "data": [],
            "parameters": 1, "tuning": if tuned { tries } else { json!([]) },
            "arms": [{ "name": "base", "title": "SGD", "assignments": assignments, "runs": [run] }],
        });
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn the_baseline_is_the_optimiser_alone() {
        let words = comparison(&["method.gnr=false"], false).baseline().unwrap();
        assert!(words.starts_with("SGD alone reaches 50.0 % here"), "{words}");
        for other in
            [&[][..], &["method.gnr=false", "optimizer.lr=0.7"], &["method.gnr=false", "method.sam=true"]]
        {
            assert_eq!(comparison(other, false).baseline(), None, "{other:?}");
        }
        assert_eq!(comparison(&["method.gnr=false"], true).baseline(), None);
    }
}
