//! Failures, recorded for the other parts of a comparison: a file with the reason for each failed run, in the folder
//! `failed`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use gnr_train::write_atomically;

use crate::{
    error::{Result, io},
    results::is_finished,
    runner::{Failure, Run},
};

fn file(folder: &Path, run: &Run) -> PathBuf {
    let name = run.folder.file_name().unwrap_or_default().to_string_lossy();
    folder.join("failed").join(format!("{name}.txt"))
}

/// Removes the recorded failures of runs that are about to be trained (again).
pub(super) fn forget(folder: &Path, runs: &[Run]) -> Result<()> {
    for run in runs {
        let file = file(folder, run);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&file, "remove")(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Records the failures of these runs.
pub(super) fn tell(folder: &Path, runs: &[Run], failures: &[Failure]) -> Result<()> {
    for failure in failures {
        let file = file(folder, &runs[failure.run]);
        let home = folder.join("failed");
        fs::create_dir_all(&home).map_err(io(&home, "create"))?;
        write_atomically(&file, failure.reason.as_bytes())?;
    }
    Ok(())
}

/// The recorded failures of unfinished runs, whichever part trained them.
pub(super) fn told(folder: &Path, runs: &[Run]) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    for (index, run) in runs.iter().enumerate().filter(|(_, run)| !is_finished(&run.folder)) {
        let file = file(folder, run);
        match fs::read_to_string(&file) {
            Ok(reason) => failures.push(Failure { run: index, name: run.name.clone(), reason }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(&file, "read")(error)),
        }
    }
    Ok(failures)
}
