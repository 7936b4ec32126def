//! The choices that tuning made in another comparison, for one that tunes nothing itself: tuned once on a smaller
//! problem, compared on a larger one.

use std::path::{Path, PathBuf};

use gnr_train::Recipe;
use serde::{Deserialize, Serialize};

use super::{
    arm::Arm,
    outcome::{Comparison, Tuned},
};
use crate::{
    error::{Result, StudyError},
    recipe_keys::there_and_here,
};

/// What tuning chose for each method of a finished comparison.
#[derive(Clone, Debug)]
pub struct Choices {
    path: PathBuf,
    there: Comparison,
}

/// The comparison in which the methods were tuned, where it was not the one at hand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunedIn {
    /// The `compare.json` that was read.
    pub path: PathBuf,
    /// The command that made it.
    pub command: String,
    /// Version and commit of the program that made it.
    pub program: String,
    /// In what it differs: keys of the recipe, and methods that are set otherwise, each with both values.
    pub differences: Vec<String>,
}

impl Choices {
    /// Reads the folder of a comparison, or its `compare.json`.
    ///
    /// # Errors
    /// A file that is missing, cannot be read or is none of ours; a comparison in which nothing was tuned.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join("compare.json") } else { path.to_path_buf() };
        let wrong = |problem: String| StudyError::File { path: file.clone(), problem };
        if path.is_dir() && !file.exists() {
            return Err(wrong(
                "not there: expected the folder of a finished `gnr compare --tune`, which has it".into(),
            ));
        }
        let there = Comparison::read(&file)?;
        if let Some(TunedIn { path, .. }) = &there.tuned_in {
            return Err(wrong(format!(
                "expected a comparison that tuned its methods; this one took its choices from {}: name that one",
                path.display()
            )));
        }
        if there.tuning.is_empty() {
            return Err(wrong(
                "expected a comparison that tuned its methods (--tune); this one did not".into(),
            ));
        }
        Ok(Self { path: file, there })
    }

    /// The file, if it lies in this folder.
    pub(super) fn within(&self, folder: &Path) -> Option<&Path> {
        let real = |path: &Path| path.canonicalize().ok();
        let mine =
            real(&self.path).zip(real(folder)).is_some_and(|(file, folder)| file.parent() == Some(&*folder));
        mine.then_some(&*self.path)
    }

    /// The tuning of a method there, found by its name.
    ///
    /// # Errors
    /// A method that is not among those that were tuned.
    pub(super) fn of(&self, arm: &Arm) -> Result<&Tuned> {
        self.there.tuning.iter().find(|tuned| tuned.arm == arm.name).ok_or_else(|| {
            let names: Vec<&str> = self.there.tuning.iter().map(|tuned| &*tuned.arm).collect();
            StudyError::Request(format!(
                "{}: method `{}` was not tuned there; those that were are {}",
                self.path.display(),
                arm.name,
                names.join(", ")
            ))
        })
    }

    /// Where the choices come from, and in what that comparison differs from one of `recipe` with these methods, each
    /// with what is set over the recipe, choices included.
    ///
    /// # Errors
    /// A recipe there that this version of the program cannot read.
    pub(super) fn origin(&self, recipe: &Recipe, arms: &[Arm], over: &[Vec<String>]) -> Result<TunedIn> {
        let theirs = Recipe::parse(&self.path.to_string_lossy(), "run", &self.there.recipe, &[])?;
        let bare = |recipe: &Recipe| {
            let mut bare = recipe.deciding();
            bare.name.clear();
            bare
        };
        let mut differences = there_and_here(&bare(&theirs), &bare(recipe));
        for (arm, words) in arms.iter().zip(over) {
            let there = self.there.arms.iter().find(|there| there.name == arm.name);
            if let Some(there) = there.filter(|there| there.assignments != *words) {
                let words = [&there.assignments, words].map(|words| format!("`{}`", words.join(" ")));
                differences.push(format!("{}: {} there, {} here", arm.name, words[0], words[1]));
            }
        }
        let (command, program) = (self.there.command.clone(), self.there.program.clone());
        Ok(TunedIn { path: self.path.clone(), command, program, differences })
    }
}
