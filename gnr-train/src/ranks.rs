//! Checks of work on several ranks: all of them must have one recipe, one checkpoint and equal images, and their
//! parameters must stay equal.

use std::path::{Path, PathBuf};

use gnr_core::{Leaf, Pack as _, Regularizer, StateSink, collective::Packed};
use gnr_models::weights::WeightFile;
use gnr_nn::{Autodiff, ParamVector};

use crate::{
    checkpoint::{Asked, CheckpointFile},
    error::{Result, TrainError, io},
    fingerprint::Fingerprints,
    method::Regularizers,
    recipe::{Perturbation, Recipe, different_keys},
    subject::weight_file,
    summary,
    team::Team,
};

/// Reads the last checkpoint of a run folder, or a weight file, and returns it with its path. Rank 0 reads the file, so
/// the others need not see its disk.
///
/// # Errors
/// A file that is missing or damaged, a run without a checkpoint.
pub(crate) fn weights(team: &Team, asked: &Path) -> Result<(PathBuf, CheckpointFile)> {
    let path = weight_file(asked);
    let trained = || match path != asked && !path.exists() {
        false => Ok(()),
        true => Err(TrainError::Folder {
            path: asked.to_path_buf(),
            problem: "holds a run without a checkpoint; `gnr resume` trains it".into(),
        }),
    };
    let file = if team.size() == 1 {
        trained().and_then(|()| CheckpointFile::read(&path))?
    } else {
        sent(&path, team.share(|| trained().and_then(|()| std::fs::read(&path).map_err(io(&path, "read"))))?)?
    };
    Ok((path, file))
}

/// Reads the checkpoint at which a run continues, on rank 0; `None` where there is none.
///
/// # Errors
/// A damaged file.
pub(crate) fn last_checkpoint(team: &Team, path: &Path) -> Result<Option<CheckpointFile>> {
    if team.size() == 1 {
        return if path.exists() { CheckpointFile::read(path).map(Some) } else { Ok(None) };
    }
    let bytes = team.share(|| match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(io(path, "read")),
    })?;
    if bytes.is_empty() { Ok(None) } else { sent(path, bytes).map(Some) }
}

/// The file at rank 0's `path`, made of the bytes that rank 0 sent.
fn sent(path: &Path, bytes: Vec<u8>) -> Result<CheckpointFile> {
    CheckpointFile::of(path, WeightFile::from_bytes(&path.display().to_string(), bytes)?)
}

/// Refuses ranks whose program or recipe differs from rank 0's. Paths of files may differ.
///
/// # Errors
/// The keys that differ, equal on every rank.
pub(crate) fn same_recipe(team: &Team, recipe: &Recipe) -> Result<()> {
    if team.size() == 1 {
        return Ok(());
    }
    let program = format!("{} {}", summary::VERSION, summary::commit().unwrap_or("of unknown commit"));
    let theirs = team.share_text(|| Ok(program.clone()))?;
    team.agree(match program == theirs {
        true => Ok(()),
        false => Err(TrainError::Request(format!(
            "the program's version differs between ranks: {program} here, {theirs} at rank 0"
        ))),
    })?;
    let mut own = recipe.deciding();
    // These keys are compared, too, because they decide which exchanges the ranks make.
    own.train.threads = recipe.train.threads;
    own.train.checkpoint_every_epochs = recipe.train.checkpoint_every_epochs;
    own.train.checkpoint_every_steps = recipe.train.checkpoint_every_steps;
    own.train.keep_every_epochs = recipe.train.keep_every_epochs;
    own.train.test_only_at_end = recipe.train.test_only_at_end;
    let own = team.agree(own.to_toml().map_err(TrainError::from))?;
    let theirs = team.share_text(|| Ok(own.clone()))?;
    let table = |text: &str| toml::from_str(text).unwrap_or_default();
    let keys = different_keys(&table(&own), &table(&theirs));
    let verb = if keys.len() == 1 { "is" } else { "are" };
    team.agree(match keys.is_empty() {
        true => Ok(()),
        false => Err(TrainError::Request(format!(
            "the recipe differs between ranks: {} {verb} not what rank 0 has",
            keys.join(", ")
        ))),
    })
}

/// Refuses recipes whose batches cannot be spread over so many ranks.
///
/// # Errors
/// The keys that do not fit, and the values that would.
pub(crate) fn can_share_batches(recipe: &Recipe, ranks: usize) -> Result<()> {
    if ranks == 1 {
        return Ok(());
    }
    let refuse = |words: String| Err(TrainError::Request(words));
    let (batch, pieces) = (recipe.train.batch_size, recipe.train.micro_batches);
    if batch < ranks * pieces {
        let parts = if pieces > 1 { format!(" of {pieces} micro-batches each") } else { String::new() };
        return refuse(format!(
            "train.batch_size = {batch}: expected an image or more for each of {ranks} ranks{parts}"
        ));
    }
    let local = recipe.parallel.perturbation == Perturbation::Local;
    if let Some(group) = recipe.method.group.filter(|_| !local) {
        return refuse(format!(
            "method.group = {group}: on {ranks} ranks groups are perturbed on their own with parallel.perturbation = \"local\" only, \
             each rank's part in groups of so many"
        ));
    }
    if local && pieces > 1 {
        return refuse(format!(
            "train.micro_batches = {pieces}: not with parallel.perturbation = \"local\" on {ranks} ranks, where method.group saves memory"
        ));
    }
    if let Some((name, fraction)) = recipe.method.fractions().next().filter(|_| pieces > 1) {
        return refuse(format!(
            "method.{name}.batch_fraction = {fraction}: not with train.micro_batches = {pieces} on {ranks} ranks"
        ));
    }
    if pieces > 1 && recipe.method.get("esam").is_some() {
        return refuse(format!(
            "method.esam: not with train.micro_batches = {pieces} on {ranks} ranks, as some ranks would select none of a \
             micro-batch's images"
        ));
    }
    Ok(())
}

/// Refuses ranks whose training, validation or test images differ from rank 0's.
///
/// # Errors
/// The difference, equal on every rank.
pub(crate) fn same_data(team: &Team, own: &Fingerprints) -> Result<()> {
    if team.size() == 1 {
        return Ok(());
    }
    let theirs = team.share_text(|| own.to_json())?;
    let compared =
        Fingerprints::parse(Path::new("rank 0"), &theirs).and_then(|theirs| match own.differences(&theirs) {
            None => Ok(()),
            Some(words) => Err(TrainError::Request(format!("the data are not those of rank 0: {words}"))),
        });
    team.agree(compared)
}

/// Refuses ranks whose images of one set differ from rank 0's, by their checksums. `described` names the images in
/// words.
///
/// # Errors
/// Both checksums, equal on every rank.
pub(crate) fn same_images(team: &Team, described: &str, checksum: &str) -> Result<()> {
    if team.size() == 1 {
        return Ok(());
    }
    let theirs = team.share_text(|| Ok(checksum.to_owned()))?;
    team.agree(match checksum == theirs {
        true => Ok(()),
        false => Err(TrainError::Request(format!(
            "{described}: the images are not those of rank 0 (checksum {checksum} here, {theirs} there): expected the same files on all \
             machines"
        ))),
    })
}

/// Refuses regularisers that keep vectors or tables between steps if ranks perturb on their own: each rank would have
/// others.
pub(crate) fn nothing_remembered<B: Autodiff>(regularizers: &Regularizers<ParamVector<B>>) -> Result<()> {
    struct Counts;
    impl<V> StateSink<V> for Counts {
        fn put(&mut self, name: &str, leaf: Leaf<&V>) -> gnr_core::Result<()> {
            match leaf {
                Leaf::Count(_) => Ok(()),
                Leaf::Vector(_) | Leaf::Table(_) => Err(gnr_core::Error::Oracle(format!(
                    "a regulariser remembers numbers (`{name}`) from step to step, which are others on each rank: expected \
                     parallel.perturbation = \"global\""
                ))),
            }
        }
    }
    Ok(Regularizer::<Asked<'_, B>>::save(regularizers, &mut Counts)?)
}

/// Refuses ranks whose parameters differ in a bit: kernels of different machines may round differently.
pub(crate) fn same_bits<B: Autodiff>(team: &Team, theta: &ParamVector<B>, step: u64) -> Result<()> {
    if team.size() == 1 {
        return Ok(());
    }
    let sum = match theta.pack()? {
        Packed::Single(values) => {
            values.iter().fold(0, |sum, x| crc32c::crc32c_append(sum, &x.to_le_bytes()))
        }
        Packed::Double(values) => {
            values.iter().fold(0, |sum, x| crc32c::crc32c_append(sum, &x.to_le_bytes()))
        }
        Packed::Bytes(bytes) => crc32c::crc32c(&bytes),
    };
    let all = team.ranks().scalars(&[f64::from(sum)])?;
    match all.iter().position(|sum| *sum != all[0]) {
        None => Ok(()),
        Some(rank) => Err(TrainError::Request(format!(
            "ranks 0 and {rank} have different parameters after step {step}, although they follow the same directions: machines whose \
             kernels round differently cannot train together"
        ))),
    }
}
