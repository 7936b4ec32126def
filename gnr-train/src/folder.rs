//! The run folder: making, opening and locking it, and the places of its files.
//!
//! A folder has `recipe.toml`, `data.json`, `weights.json` (if initial weights were read from a file), `metrics.jsonl`,
//! `summary.json`, `events.out.tfevents.*`, `checkpoints/{last,best,average,epoch-*}.safetensors` and `run.lock`.
//! Between checkpoints it also has `checkpoints/best.pending.safetensors`, if an epoch since the last one was the best.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    atomic::write_atomically,
    error::{Result, TrainError, io},
    recipe::Recipe,
};

/// A folder that this process holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// The lock file. The operating system releases it when the process ends, however it ends. `None`: another process
    /// of the run holds it.
    _lock: Option<File>,
}

impl RunFolder {
    /// Makes the folder of a new run, which must be absent or empty.
    pub(crate) fn create(path: &Path, recipe: &Recipe) -> Result<Self> {
        refuse_existing(path)?;
        let created = !path.exists();
        fs::create_dir_all(path).map_err(io(path, "create the run folder"))?;
        let filled = Self::lock(path).and_then(|folder| {
            write_atomically(&folder.file("recipe.toml"), recipe.to_toml()?.as_bytes())?;
            folder.checkpoints()?;
            Ok(folder)
        });
        if filled.is_err() && created && !matches!(filled, Err(TrainError::Locked { .. })) {
            // No incomplete folder is left: it held nothing but the first files written here.
            let _ = fs::remove_dir_all(path);
        }
        filled
    }

    /// The folder of a run that another rank holds. Nothing is read or written in it.
    pub(crate) fn held_elsewhere(path: &Path) -> Self {
        Self { path: path.to_path_buf(), _lock: None }
    }

    /// Opens the folder of an existing run.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        recipe_of(path)?;
        let folder = Self::lock(path)?;
        // A process that died early may have left a folder with a recipe and without checkpoints.
        folder.checkpoints()?;
        Ok(folder)
    }

    /// Makes the folder of the checkpoints, if it is missing.
    fn checkpoints(&self) -> Result<()> {
        let checkpoints = self.file("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(io(&checkpoints, "create"))
    }

    /// Continues the run with a recipe of more epochs, so that it is no longer finished.
    pub(crate) fn extend(&self, recipe: &Recipe) -> Result<()> {
        // The summary goes first: a process that dies in between leaves a run that was not extended. Such a run
        // finishes again at once.
        let summary = self.file("summary.json");
        match fs::remove_file(&summary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(&summary, "remove")(error));
            }
            _ => {}
        }
        write_atomically(&self.file("recipe.toml"), recipe.to_toml()?.as_bytes())
    }

    fn lock(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), _lock: Some(lock(path, "run.lock")?) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Takes a lock file of a folder until the value is dropped, and writes the process id into it.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    let mut lock =
        File::options().create(true).read(true).append(true).open(&path).map_err(io(&path, "create"))?;
    match lock.try_lock() {
        Ok(()) => {
            // The id only informs people; the lock works without it.
            let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = lock.read_to_string(&mut text).ok();
            let pid = read.and_then(|_| text.trim().parse().ok());
            Err(TrainError::Locked { path, pid })
        }
        Err(TryLockError::Error(source)) => Err(io(&path, "lock")(source)),
    }
}

/// Whether `path` is the folder of a run.
pub fn is_run(path: &Path) -> bool {
    path.join("recipe.toml").is_file()
}

/// Reads the recipe of a run folder.
///
/// # Errors
/// A folder without a run, a damaged recipe.
pub fn recipe_of(path: &Path) -> Result<Recipe> {
    if !is_run(path) {
        let problem = "there is no run to resume here (no recipe.toml)".to_owned();
        return Err(TrainError::Folder { path: path.to_path_buf(), problem });
    }
    Ok(Recipe::load(&path.join("recipe.toml"), &[])?)
}

/// Refuses a folder that is not empty. A folder with only a lock or a partial recipe counts as empty: a process that
/// died early leaves these.
pub(crate) fn refuse_existing(path: &Path) -> Result<()> {
    let folder = |problem: String| TrainError::Folder { path: path.to_path_buf(), problem };
    if is_run(path) {
        return Err(folder(format!(
            "holds a run already; continue it with `gnr resume {}`, or choose another --out",
            path.display()
        )));
    }
    match fs::read_dir(path) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(io(path, "list"))?.file_name();
                if name != "run.lock" && name != "recipe.toml.partial" {
                    return Err(folder("is not empty; nothing was overwritten: choose another --out".into()));
                }
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(path, "use as a run folder")(error)),
    }
}

/// Makes and reserves a new folder `parent/name-<n>` with the smallest free n ≥ 1.
///
/// # Errors
/// [`TrainError::Io`] when folders cannot be made there.
pub fn next_free(parent: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(parent).map_err(io(parent, "create"))?;
    for n in 1_u64.. {
        let path = parent.join(format!("{name}-{n}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(&path, "create the run folder")(error)),
        }
    }
    Err(io(parent, "number a run folder")(std::io::ErrorKind::QuotaExceeded.into()))
}
