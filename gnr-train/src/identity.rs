//! The identity of a run: whether two recipes belong to one run, and the warning of a run that moves to another engine.

use crate::recipe::Recipe;

/// Whether two recipes belong to one run. The engine and the keys that [`Recipe::deciding`] leaves out do not matter,
/// except for the number of kernel threads.
pub(crate) fn same_run(a: &Recipe, b: &Recipe) -> bool {
    let exact = |recipe: &Recipe| (recipe.deciding().anywhere(), recipe.train.threads);
    exact(a) == exact(b)
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
