//! `--merge DIR...`: brings the runs of other folders (of shards, of other machines) into this one.

use std::path::{Path, PathBuf};

use super::RUNS;
use crate::{
    error::{Result, StudyError, io},
    lock,
    results::{self, Summarized},
};

/// Numbers of runs that were copied and left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) copied: usize,
    /// Number of runs that are here already, equal or further.
    pub(super) kept: usize,
}

/// Copies runs that are missing here, or that are finished or further in another folder. A run that is finished on both
/// sides with another result is a conflict.
///
/// # Errors
/// All conflicts at once, before anything is copied; a folder without runs; files that cannot be read or written.
pub(super) fn merge(from: &[PathBuf], into: &Path) -> Result<Merged> {
    let mut copies: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut conflicts = Vec::new();
    let mut kept = 0;
    for folder in from {
        let runs = folder.join(RUNS);
        let entries = std::fs::read_dir(&runs).map_err(|error| {
            StudyError::Request(format!("--merge: no runs in {}: {error}", runs.display()))
        })?;
        let names: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let mut names = names.map_err(io(&runs, "list"))?;
        names.sort();
        for name in names {
            let theirs = runs.join(&name);
            if !theirs.join("recipe.toml").is_file() {
                continue;
            }
            if let Some(holder) = lock::trainer(&theirs) {
                return Err(StudyError::Locked { folder: theirs, holder });
            }
            // Another folder of the list may have the run, too: a run that is to be copied counts as one that is here.
            let target = into.join(RUNS).join(&name);
            let planned = copies.iter().position(|(_, to)| *to == target);
            let ours = planned.map_or_else(|| target.clone(), |index| copies[index].0.clone());
            match compare(&ours, &theirs)? {
                Side::Ours => kept += 1,
                Side::Theirs => match planned {
                    Some(index) => copies[index].0 = theirs,
                    None => copies.push((theirs, target)),
                },
                Side::Conflict(why) => conflicts.push(format!(
                    "{}: {why}\n    {}\n    {}",
                    name.to_string_lossy(),
                    ours.display(),
                    theirs.display()
                )),
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(StudyError::Request(format!(
            "{} runs were finished twice with different results; nothing was merged. Remove one side of each:\n  {}",
            conflicts.len(),
            conflicts.join("\n  ")
        )));
    }
    for (theirs, target) in &copies {
        replace(theirs, target).map_err(io(theirs, "merge"))?;
    }
    Ok(Merged { copied: copies.len(), kept })
}

enum Side {
    Ours,
    Theirs,
    Conflict(String),
}

fn compare(ours: &Path, theirs: &Path) -> Result<Side> {
    if !ours.join("recipe.toml").is_file() {
        return Ok(Side::Theirs);
    }
    let finished = |folder| results::summary(folder).map(|found| found.filter(|summary| summary.finished));
    Ok(match (finished(ours)?, finished(theirs)?) {
        (Some(a), Some(b)) if same(&a, &b) => Side::Ours,
        (Some(a), Some(b)) => {
            let told = |summary: &Summarized| {
                let accuracy = summary.test_accuracy.map_or("none".into(), |x| format!("{:.3} %", 100.0 * x));
                format!("{accuracy} (commit {})", summary.commits().as_deref().unwrap_or("unknown"))
            };
            Side::Conflict(format!("test accuracy {} and {}", told(&a), told(&b)))
        }
        (Some(_), None) => Side::Ours,
        (None, Some(_)) => Side::Theirs,
        (None, None) if epochs(theirs) > epochs(ours) => Side::Theirs,
        (None, None) => Side::Ours,
    })
}

/// Whether two runs have equal results. Time, commit and other facts that may differ between two machines decide
/// nothing.
fn same(a: &Summarized, b: &Summarized) -> bool {
    let result = |s: &Summarized| (s.test_accuracy, s.test_loss, s.steps, s.gradient_evaluations, s.products);
    result(a) == result(b)
}

fn epochs(folder: &Path) -> usize {
    results::epochs(folder).map_or(0, |epochs| epochs.len())
}

/// Copies a run folder beside the target and then replaces the target. The old run is untouched until the copy is
/// complete. The replacement itself, a removal and a rename, is not atomic.
fn replace(theirs: &Path, target: &Path) -> std::io::Result<()> {
    let mut partial = target.to_path_buf().into_os_string();
    partial.push(".merging");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    copy(theirs, &partial)?;
    if target.exists() {
        std::fs::remove_dir_all(target)?;
    }
    std::fs::rename(&partial, target)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with so many epochs, and a test accuracy when it is finished.
    fn run(out: &Path, name: &str, epochs: u64, accuracy: Option<f64>) {
        let folder = out.join(RUNS).join(name);
        std::fs::create_dir_all(folder.join("checkpoints")).unwrap();
        std::fs::write(folder.join("recipe.toml"), "").unwrap();
        std::fs::write(folder.join("checkpoints/last.safetensors"), format!("{epochs}")).unwrap();
        let line = |epoch: u64| {
            format!(
                "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{epoch},\"train_loss\":1.0,\"train_accuracy\":0.5,\
                 \"learning_rate\":0.1,\"grad_norm\":1.0,\"penalties\":{{}},\"seconds\":0.1}}\n"
            )
        };
        let lines: String = (1..=epochs).map(line).collect();
        std::fs::write(folder.join("metrics.jsonl"), lines).unwrap();
        if let Some(accuracy) = accuracy {
            let text = format!("{{\"finished\":true,\"test_accuracy\":{accuracy}}}");
            std::fs::write(folder.join("summary.json"), text).unwrap();
        }
    }

    fn last(out: &Path, name: &str) -> String {
        std::fs::read_to_string(out.join(RUNS).join(name).join("checkpoints/last.safetensors")).unwrap()
    }

    #[test]
    fn what_is_missing_or_further_is_taken() {
        let [a, b, into] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        run(a.path(), "new", 3, Some(0.5));
        run(a.path(), "same", 3, Some(0.6));
        run(into.path(), "same", 3, Some(0.6));
        run(a.path(), "further", 2, None);
        run(b.path(), "further", 4, None);
        run(into.path(), "further", 1, None);
        run(b.path(), "finished here", 9, None);
        run(into.path(), "finished here", 5, Some(0.7));
        let from = [a.path().to_path_buf(), b.path().to_path_buf()];
        assert_eq!(merge(&from, into.path()).unwrap(), Merged { copied: 2, kept: 2 });
        assert_eq!(last(into.path(), "new"), "3");
        assert_eq!(last(into.path(), "further"), "4");
        assert_eq!(last(into.path(), "finished here"), "5");
        assert_eq!(merge(&from, into.path()).unwrap().copied, 0, "a second time there is nothing to do");
    }

    #[test]
    fn different_results_are_a_conflict_and_nothing_is_touched() {
        let [a, b, into] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        run(a.path(), "new", 3, Some(0.5));
        run(a.path(), "x", 3, Some(0.5));
        run(b.path(), "x", 3, Some(0.75));
        let from = [a.path().to_path_buf(), b.path().to_path_buf()];
        let error = merge(&from, into.path()).unwrap_err().to_string();
        assert!(error.contains("x: test accuracy 50.000 %") && error.contains("75.000 %"), "{error}");
        assert!(!into.path().join(RUNS).exists(), "nothing was merged");
    }

    #[test]
    fn a_folder_without_runs_is_an_error() {
        let [a, into] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let error = merge(&[a.path().to_path_buf()], into.path()).unwrap_err().to_string();
        assert!(error.contains("no runs in"), "{error}");
    }
}
