//! The identity of a run: whether two recipes belong to one run, and the warning of a run that moves to another engine.

use crate::recipe::{Recipe, different_keys};

/// The keys by which two recipes belong to two runs; none if they belong to one run. The engine and the keys that
/// [`Recipe::deciding`] leaves out do not matter, except for the number of kernel threads.
pub(crate) fn differences(a: &Recipe, b: &Recipe) -> Vec<String> {
    let table = |recipe: &Recipe| {
        let mut exact = recipe.deciding().anywhere();
        exact.train.threads = recipe.train.threads;
        toml::Table::try_from(exact).unwrap_or_default()
    };
    different_keys(&table(a), &table(b))
}

/// Whether two recipes belong to one run, see [`differences`].
pub(crate) fn same_run(a: &Recipe, b: &Recipe) -> bool {
    differences(a, b).is_empty()
}

/// A warning if the run of `theirs` continues on the engine of `mine`, which is another one; `None` if the engines are
/// equal.
pub(crate) fn moved(theirs: &Recipe, mine: &Recipe) -> Option<String> {
    let (began, here) = (theirs.train.place(), mine.train.place());
    (began != here).then(|| {
        format!(
            "the run began with {began} and continues with {here}: from here on its numbers differ from those of an \
             uninterrupted run by rounding"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_may_change_are_no_difference() {
        let recipe = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            Recipe::parse("run", "run", "", &sets).unwrap()
        };
        let elsewhere = |mut recipe: Recipe| {
            // This build may have one engine only, on one device.
            recipe.train.channels_last = true;
            recipe
        };
        let allowed = recipe(&["train.workers=1", "data.dir=/new"]);
        assert!(same_run(&recipe(&[]), &elsewhere(allowed)));
        let other = elsewhere(recipe(&["train.threads=2", "optimizer.lr=0.3"]));
        assert_eq!(differences(&recipe(&[]), &other), ["optimizer.lr", "train.threads"]);
    }
}
