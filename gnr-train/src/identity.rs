//! What makes two recipes one run, and what a run says when it moves to another engine.

use crate::recipe::Recipe;

/// Whether two recipes belong to one run. Paths of files, the number of threads that prepare batches, checkpoint
/// intervals and the engine do not matter; the number of kernel threads does.
pub(crate) fn same_run(a: &Recipe, b: &Recipe) -> bool {
    let exact = |recipe: &Recipe| (recipe.deciding().anywhere(), recipe.train.threads);
    exact(a) == exact(b)
}

/// The engine on which the run of `theirs` began, in words; `None` if it is that of `mine`.
pub(crate) fn moved(theirs: &Recipe, mine: &Recipe) -> Option<String> {
    let (began, here) = (theirs.train.place(), mine.train.place());
    (began != here).then(|| {
        format!(
            "the run began with {began} and continues with {here}: from here on its numbers differ from those of an \
             uninterrupted run by rounding"
        )
    })
}
