//! The runs at or below a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gnr_train::is_run;

use crate::error::{Result, StudyError, io};

/// Number of levels of folders that are searched: `runs/compare-digits/tuning/RUN` is three below `runs`.
const DEPTH: usize = 4;

/// The run folders at or below a folder, sorted by path. A run holds no runs.
///
/// # Errors
/// A folder that is missing, cannot be listed, or holds no run.
pub fn runs_in(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !path.is_dir() {
        let what = if path.exists() { "is no folder" } else { "does not exist" };
        return Err(StudyError::Request(format!(
            "{}: {what}; expected a run folder, or a folder of runs such as that of a comparison",
            path.display()
        )));
    }
    walk(path, DEPTH, &mut found)?;
    if found.is_empty() {
        return Err(StudyError::Request(format!(
            "{}: no run here or in the {DEPTH} levels of folders below; expected a folder with a recipe.toml, as `gnr train` makes it",
            path.display()
        )));
    }
    Ok(found)
}

fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if is_run(path) {
        found.push(path.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(path).map_err(io(path, "list"))? {
        let entry = entry.map_err(io(path, "list"))?.path();
        if entry.is_dir() {
            below.push(entry);
        }
    }
    below.sort();
    below.iter().try_for_each(|folder| walk(folder, depth - 1, found))
}

/// A short name for each folder: its path below the folder that all of them share; a single folder has its own name.
pub fn labels(folders: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = folders
        .iter()
        .map(|folder| {
            folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
        })
        .collect();
    let shortest = parts.iter().map(Vec::len).min().unwrap_or_default();
    let shared = (0..shortest.saturating_sub(1))
        .take_while(|&at| parts.windows(2).all(|pair| pair[0][at] == pair[1][at]))
        .count();
    parts.iter().map(|parts| parts[shared..].iter().collect::<PathBuf>().display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_itself_and_a_folder_is_its_runs() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for name in
            ["study/runs/b", "study/runs/a", "study/measures/a/spectrum", "other", "study/runs/a/checkpoints"]
        {
            fs::create_dir_all(at(name)).unwrap();
        }
        for run in ["study/runs/a", "study/runs/b", "other", "study/runs/a/checkpoints"] {
            fs::write(at(run).join("recipe.toml"), "").unwrap();
        }
        assert_eq!(runs_in(&at("other")).unwrap(), [at("other")]);
        assert_eq!(runs_in(&at("study")).unwrap(), [at("study/runs/a"), at("study/runs/b")]);
        assert_eq!(runs_in(home.path()).unwrap(), [at("other"), at("study/runs/a"), at("study/runs/b")]);
    }

    #[test]
    fn labels_are_short_and_differ() {
        let of = |paths: &[&str]| labels(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["runs/digits-1"]), ["digits-1"]);
        assert_eq!(of(&["runs/c/runs/sgd", "runs/c/runs/sam"]), ["sgd", "sam"]);
        assert_eq!(of(&["runs/c/runs/sgd", "runs/digits-1"]), ["c/runs/sgd", "digits-1"]);
        assert_eq!(of(&["a", "b/c"]), ["a", "b/c"]);
        assert_eq!(of(&["/runs/a", "b/c"]), ["/runs/a", "b/c"]);
        assert_eq!(of(&[]), <[&str; 0]>::default());
    }

    #[test]
    fn where_no_run_is_that_is_said() {
        let home = tempfile::tempdir().unwrap();
        let told = |path: &Path| runs_in(path).unwrap_err().to_string();
        assert!(told(home.path()).contains("no run here"), "{}", told(home.path()));
        assert!(told(&home.path().join("gone")).contains("gone: does not exist"));
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(told(&file).contains("is no folder"));
    }
}
