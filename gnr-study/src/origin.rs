//! The files that a run starts from: images and initial weights. Their paths decide nothing, their contents do.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::Read,
    path::Path,
    sync::{Mutex, PoisonError},
};

use gnr_train::{Recipe, changed_images, recipe_of};

use crate::{
    error::{Result, StudyError, io},
    results::is_finished,
    runner::Run,
};

/// Checksums of files of initial weights that were read before, by path.
#[derive(Debug, Default)]
pub(crate) struct Weights(Mutex<BTreeMap<String, u32>>);

impl Weights {
    /// The keys that decide a run, for the name of its folder. The contents of a file of initial weights take the place
    /// of its path, so that other weights make another run and a moved file does not. A file that is not there is left
    /// out; the check before training reports it.
    ///
    /// # Errors
    /// A file that cannot be read.
    ///
    /// # Cost
    /// Reads each file of weights once.
    pub(crate) fn deciding(&self, recipe: &Recipe) -> Result<Recipe> {
        let mut deciding = recipe.deciding();
        if let Some(path) = recipe.model.weights.as_ref().filter(|path| Path::new(path).is_file()) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sum = match known.get(path) {
                Some(sum) => *sum,
                None => *known.entry(path.clone()).or_insert(checksum(Path::new(path))?),
            };
            deciding.model.weights = Some(format!("crc32c {sum:08x}"));
        }
        Ok(deciding)
    }
}

/// The CRC-32C of a file.
pub(crate) fn checksum(path: &Path) -> Result<u32> {
    let mut file = File::open(path).map_err(io(path, "read"))?;
    let (mut sum, mut block) = (0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut block).map_err(io(path, "read"))? {
            0 => return Ok(sum),
            count => sum = crc32c::crc32c_append(sum, &block[..count]),
        }
    }
}

/// Refuses runs that finished on other images than those that their recipes name now. A folder of the same path is
/// trusted. So are runs without a record of their images, and images that cannot be opened, as where only results were
/// carried to another machine.
///
/// # Errors
/// [`StudyError::File`] for the folder of the first such run.
///
/// # Cost
/// Where the path has changed, one pass over the images of each section `[data]`.
pub(crate) fn check_images(runs: &[Run]) -> Result<()> {
    let mut equal: HashSet<(String, String)> = HashSet::new();
    for run in runs.iter().filter(|run| is_finished(&run.folder)) {
        let Ok(theirs) = recipe_of(&run.folder) else { continue };
        if place(&theirs) == place(&run.recipe) {
            continue;
        }
        let record = std::fs::read_to_string(run.folder.join("data.json")).unwrap_or_default();
        let images = (format!("{:?}", run.recipe.data), record);
        if equal.contains(&images) {
            continue;
        }
        if let Ok(Some(changed)) = changed_images(&run.recipe, &run.folder) {
            let of = |recipe: &Recipe| recipe.data.dir.clone().unwrap_or_else(|| "the usual folders".into());
            let (before, now) = (of(&theirs), of(&run.recipe));
            return Err(StudyError::File {
                path: run.folder.clone(),
                problem: format!(
                    "finished on the images of {before}; those of {now} are others ({changed}). Choose another --out"
                ),
            });
        }
        equal.insert(images);
    }
    Ok(())
}

/// The folder of a recipe's images, independent of how its path is written.
fn place(recipe: &Recipe) -> Option<std::path::PathBuf> {
    let dir = recipe.data.dir.as_ref()?;
    Some(Path::new(dir).canonicalize().unwrap_or_else(|_| dir.into()))
}
