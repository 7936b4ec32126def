//! Tuning before a comparison: every arm gets the same number of tries on held-out images.
//!
//! Half of an arm's tries vary the method's own keys (ρ, α) at the recipe's learning rate and weight decay, the other
//! half vary these two at the best of the first half. An arm without keys of its own spends all tries on learning rate
//! and weight decay. Tries are points of a grid in a seeded order, none twice; the very first is the recipe itself. The
//! best of all tries is taken: by the accuracy of their seeds, or, among the few best, by that of further seeds too.

use std::collections::BTreeSet;

use gnr_train::{Recipe, RecipeError};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::{arm::Arm, outcome::Tuned};
use crate::{
    error::StudyError,
    recipe_keys,
    sweep::{Axis, assignments, points},
};

/// The options of tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Number of tries of each arm, at least 2.
    pub tries: usize,
    /// Number of seeds of each try, at least 1.
    pub seeds: u64,
    /// The best tries of each arm, which are trained with further seeds before one is chosen. With one seed on a
    /// thousand held-out images, tries within two points of each other cannot be told apart, and the luckiest of many
    /// is not the best.
    pub finalists: Option<Finalists>,
    /// Fraction of the training images that tries hold out, in (0, 1), unless the recipe holds some out.
    pub validation: f64,
    /// Grids of single keys in place of the usual ones.
    pub grids: Vec<Axis>,
}

/// The number of tries that are trained again, and of their further seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finalists {
    /// Number of tries of each arm, at least 2.
    pub count: usize,
    /// Number of further seeds of each, at least 1.
    pub seeds: u64,
}

/// The first seed of tries: far from those of the comparison, which count from 0.
pub const FIRST_SEED: u64 = 1_000_000;

/// One try: its assignments over the arm's recipe, and its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Assignments of the form `section.key=value`.
    pub assignments: Vec<String>,
    /// Validation accuracy of each seed, as a fraction. Empty where a seed failed.
    pub val_accuracies: Vec<f64>,
    /// Whether a seed collapsed to one output for all images; its run then ended early.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collapsed: bool,
}

impl Try {
    /// A try that was not trained yet.
    pub(super) fn new(assignments: Vec<String>) -> Self {
        Self { assignments, val_accuracies: Vec::new(), collapsed: false }
    }

    /// Mean validation accuracy; none when a seed failed.
    pub fn mean(&self) -> Option<f64> {
        let n = self.val_accuracies.len();
        (n > 0).then(|| self.val_accuracies.iter().sum::<f64>() / n as f64)
    }
}

/// A half of the tries of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// The method's own keys.
    Method,
    /// Learning rate and weight decay.
    Optimizer,
}

pub(super) const HALVES: [Half; 2] = [Half::Method, Half::Optimizer];

impl Tuning {
    /// The axes of one half over a resolved recipe of the arm.
    pub(super) fn axes(&self, recipe: &Recipe, half: Half) -> Vec<Axis> {
        let own = Arm::axes(recipe);
        let mut axes = match half {
            Half::Method if !own.is_empty() => own,
            _ => Arm::optimizer_axes(recipe),
        };
        for grid in &self.grids {
            if let Some(axis) = axes.iter_mut().find(|axis| axis.key == grid.key) {
                *axis = grid.clone();
            }
        }
        axes
    }

    /// Checks that every given grid takes the place of a usual one of some method. `recipes` has the resolved recipe of
    /// each method.
    ///
    /// # Errors
    /// A grid whose key no method varies; two grids of one key.
    pub(super) fn check_grids(&self, recipes: &[Recipe]) -> Result<(), StudyError> {
        let axes = recipes.iter().flat_map(|recipe| HALVES.map(|half| self.axes(recipe, half)));
        let keys: BTreeSet<String> = axes.flatten().map(|axis| axis.key).collect();
        for (index, Axis { key, .. }) in self.grids.iter().enumerate() {
            if !keys.contains(key) {
                let known: Vec<&str> = keys.iter().map(String::as_str).collect();
                return Err(StudyError::Request(format!(
                    "--grid {key}: expected a key that tuning varies for one of the methods: {}",
                    known.join(", ")
                )));
            }
            if self.grids[..index].iter().any(|earlier| earlier.key == *key) {
                return Err(StudyError::Request(format!(
                    "--grid {key} is given twice: expected one list of its values"
                )));
            }
        }
        Ok(())
    }

    /// The tries of one half: the assignments of each over the arm's assignments `over`. For the second half, `tuned`
    /// has the tries of the first. The very first try changes nothing. A first half whose grid is small leaves more
    /// tries to the second.
    ///
    /// # Errors
    /// An arm that is no recipe.
    pub(super) fn tries(
        &self,
        half: Half,
        over: &[String],
        tuned: &Tuned,
        load: impl Fn(&[String]) -> Result<Recipe, RecipeError>,
    ) -> Result<Vec<Vec<String>>, RecipeError> {
        let bare = Arm::axes(&load(over)?).is_empty();
        let tried = tuned.tries.len();
        let (start, skip, count) = match half {
            Half::Method => (Vec::new(), 0, self.tries.div_ceil(2)),
            // An arm without keys of its own goes on with the same grid where the first half ended.
            Half::Optimizer if bare => (Vec::new(), tried, self.tries.saturating_sub(tried)),
            // The second half begins at the best try of the first half, which is not repeated.
            Half::Optimizer => (tuned.chosen(), 1, self.tries.saturating_sub(tried)),
        };
        let known = load(&[over, &start].concat())?;
        let axes = self.axes(&known, half);
        let whole = points(&axes);
        let new = gnr_data::permutation(whole.len(), 0, 0)
            .into_iter()
            .map(|index| [start.as_slice(), &assignments(&axes, &whole[index])].concat())
            .filter(|words| {
                load(&[over, words].concat()).is_ok_and(|recipe| recipe != known && sane(&recipe))
            });
        Ok(std::iter::once(start.clone()).chain(new).skip(skip).take(count).collect())
    }
}

/// Whether GNR's α·ρ is below the value from which training is known to collapse.
fn sane(recipe: &Recipe) -> bool {
    recipe.method.gnr().is_none_or(|gnr| gnr.alpha * gnr.rho < 1.0)
}

/// The grid of one half of the tries, in words.
pub(super) fn grid_in_words(axes: &[Axis]) -> String {
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Index of the best try: the highest mean, the first among equals. If some tries have more seeds than others, it is
/// one of these.
pub(super) fn best(tries: &[Try]) -> Option<usize> {
    let seeds = tries.iter().map(|one| one.val_accuracies.len()).max()?;
    foremost(tries, tries.len()).into_iter().find(|&index| tries[index].val_accuracies.len() == seeds)
}

/// Indices of at most `count` best tries, by falling mean; equal ones stay in order. Failed tries are left out.
pub(super) fn foremost(tries: &[Try], count: usize) -> Vec<usize> {
    let means = tries.iter().enumerate().filter_map(|(index, one)| Some((index, one.mean()?)));
    let mut means: Vec<(usize, f64)> = means.collect();
    means.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    means.into_iter().map(|(index, _)| index).take(count).collect()
}

/// The keys whose value in the chosen recipe lies at an end of its axis, or beyond. The values of keys that the choice
/// left as they were are the recipe's own.
pub(super) fn at_edge(axes: &[Axis], chosen: &Recipe) -> Vec<String> {
    let values = recipe_keys::values(chosen).unwrap_or_default();
    let mut keys = Vec::new();
    for axis in axes {
        let Some(value) = values.get(&axis.key).and_then(|value| value.parse::<f64>().ok()) else { continue };
        if axis.edge(value).is_some() {
            keys.push(readable(&format!("{}={value:?}", axis.key)));
        }
    }
    keys
}

/// Assignments as one would write them.
pub(super) fn in_words(assignments: &[String]) -> String {
    let words: Vec<String> = assignments.iter().map(|word| readable(word)).collect();
    if words.is_empty() { "the recipe as it is".into() } else { words.join(" ") }
}

/// `key=value` with the value as one would write it.
pub(super) fn readable(assignment: &str) -> String {
    let Some((key, value)) = assignment.split_once('=') else { return assignment.to_owned() };
    let short = key.rsplit('.').next().unwrap_or(key);
    // The text names the method of `method.gnr.rho`; `method.gnr` is a method itself.
    let section =
        key.strip_prefix("method.").and_then(|rest| rest.split_once('.')).map(|(section, _)| section);
    let value = match format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v")) {
        Some(Value::Float(number)) => number.to_string(),
        _ => value.to_owned(),
    };
    match section {
        Some(section) => format!("{section}.{short}={value}"),
        None => format!("{short}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sets: &[String]) -> Result<Recipe, RecipeError> {
        Recipe::parse("test", "test", "method.gnr = false", sets)
    }

    fn tuning(tries: usize) -> Tuning {
        Tuning { tries, seeds: 1, finalists: None, validation: 0.1, grids: Vec::new() }
    }

    fn untried() -> Tuned {
        Tuned::new("arm")
    }

    #[test]
    fn every_arm_has_as_many_tries_and_none_twice() {
        for (arm, count) in [("base", 11), ("ema", 11), ("sam", 11), ("gnr", 16), ("sam+gnr", 12)] {
            let arm: Arm = arm.parse().unwrap();
            let over = arm.over(&load(&[]).unwrap());
            let mut tuned = untried();
            for half in HALVES {
                let tries = tuning(count).tries(half, &over, &tuned, load).unwrap();
                assert!(tries.len() >= 2, "{arm} {half:?}");
                // The first half chooses what is not the recipe itself.
                let accuracy = |number: usize| if number == 1 { 0.9 } else { 0.5 };
                tuned.tries.extend(tries.into_iter().enumerate().map(|(number, assignments)| Try {
                    assignments,
                    val_accuracies: vec![accuracy(number)],
                    collapsed: false,
                }));
                tuned.best = best(&tuned.tries).unwrap();
            }
            let mut recipes: Vec<String> = tuned
                .tries
                .iter()
                .map(|one| {
                    load(&[over.clone(), one.assignments.clone()].concat()).unwrap().to_toml().unwrap()
                })
                .collect();
            recipes.sort();
            recipes.dedup();
            assert_eq!((tuned.tries.len(), recipes.len()), (count, count), "{arm}");
        }
    }

    #[test]
    fn no_try_is_where_training_collapses() {
        let arm: Arm = "gnr".parse().unwrap();
        let over = arm.over(&load(&[]).unwrap());
        let tries = tuning(1000).tries(Half::Method, &over, &untried(), load).unwrap();
        // 3 × 5 points, of which (0.2, 5) is left out; none of them is the recipe's (0.1, 0.1), which stands first.
        assert_eq!(tries.len(), 15);
        for words in tries {
            let gnr = load(&[over.clone(), words].concat()).unwrap().method.gnr().unwrap();
            assert!(gnr.alpha * gnr.rho < 1.0);
        }
    }

    #[test]
    fn a_given_grid_replaces_the_usual_one() {
        let grids = vec!["method.gnr.alpha=1.0,2.0".parse().unwrap()];
        let arm: Arm = "gnr".parse().unwrap();
        let recipe = load(&arm.over(&load(&[]).unwrap())).unwrap();
        let axes = Tuning { grids, ..tuning(4) }.axes(&recipe, Half::Method);
        assert_eq!(grid_in_words(&axes), "method.gnr.rho: 0.05, 0.1, 0.2; method.gnr.alpha: 1, 2");
    }

    #[test]
    fn a_grid_that_no_method_varies_is_refused() {
        let arm: Arm = "gnr".parse().unwrap();
        let recipes = [load(&[]).unwrap(), load(&arm.over(&load(&[]).unwrap())).unwrap()];
        let checked = |grids: &[&str]| {
            let grids = grids.iter().map(|grid| grid.parse().unwrap()).collect();
            Tuning { grids, ..tuning(4) }.check_grids(&recipes).map_err(|error| error.to_string())
        };
        assert_eq!(checked(&["method.gnr.alpha=1.0,2.0", "optimizer.lr=0.1,0.2"]), Ok(()));
        let error = checked(&["method.gnr.alhpa=1.0,2.0"]).unwrap_err();
        let keys = "method.gnr.alpha, method.gnr.rho, optimizer.lr, optimizer.weight_decay";
        assert!(error.starts_with("--grid method.gnr.alhpa: ") && error.ends_with(keys), "{error}");
        let error = checked(&["optimizer.lr=0.1,0.2", "optimizer.lr=0.3,0.4"]).unwrap_err();
        assert!(error.contains("is given twice"), "{error}");
    }

    #[test]
    fn the_best_try_is_the_first_of_equals_and_never_a_failed_one() {
        let of = |values: &[f64]| Try { val_accuracies: values.to_vec(), ..Try::new(Vec::new()) };
        assert_eq!(best(&[of(&[0.5]), of(&[0.8]), of(&[]), of(&[0.8])]), Some(1));
        assert_eq!(best(&[of(&[])]), None);
        // The luckiest of one seed is not chosen where others have shown more.
        let again = [of(&[0.9]), of(&[0.7, 0.8]), of(&[0.8, 0.8]), of(&[])];
        assert_eq!((best(&again), foremost(&again, 2)), (Some(2), vec![0, 2]));
    }

    #[test]
    fn a_choice_at_the_edge_of_its_grid_is_told() {
        let axes =
            ["optimizer.lr=0.1,0.2,0.4", "optimizer.weight_decay=0.0,0.1,0.2", "method.gnr.alpha=1.0,2.0"];
        let axes: Vec<Axis> = axes.iter().map(|axis| axis.parse().unwrap()).collect();
        let edge = |words: &[&str]| {
            at_edge(&axes, &load(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>()).unwrap())
        };
        assert_eq!(edge(&["optimizer.lr=0.1", "optimizer.lr=0.4", "optimizer.weight_decay=0.0"]), ["lr=0.4"]);
        assert_eq!(edge(&["optimizer.lr=0.2", "method.gnr.alpha=2.0"]), Vec::<String>::new());
        // The recipe's own values count, too: its learning rate is 0.1.
        assert_eq!(edge(&[]), ["lr=0.1"]);
        assert_eq!(edge(&["optimizer.lr=0.8", "optimizer.weight_decay=0.3"]), ["lr=0.8", "weight_decay=0.3"]);
    }

    #[test]
    fn assignments_are_told_as_people_write_them() {
        assert_eq!(readable("method.gnr.alpha=3.0"), "gnr.alpha=3");
        assert_eq!(readable("optimizer.lr=0.05"), "lr=0.05");
        assert_eq!(readable("method.sam=true"), "sam=true");
    }
}
