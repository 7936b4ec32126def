//! What a run on several ranks must be sure of: where it continues, that its ranks stay one run.

use std::path::Path;

use gnr_core::{Leaf, Pack as _, Regularizer, StateSink, collective::Packed};
use gnr_models::weights::WeightFile;
use gnr_nn::{Autodiff, ParamVector};

use crate::{
    checkpoint::{Asked, CheckpointFile},
    error::{Result, TrainError, io},
    method::Regularizers,
    team::Team,
};

/// The checkpoint at which a run continues, which rank 0 reads.
pub(crate) fn last_checkpoint(team: &Team, path: &Path) -> Result<Option<CheckpointFile>> {
    if team.size() == 1 {
        return if path.exists() { CheckpointFile::read(path).map(Some) } else { Ok(None) };
    }
    let bytes = team.share(|| match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(io(path, "read")),
    })?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let file = WeightFile::from_bytes(&path.display().to_string(), bytes)?;
    CheckpointFile::of(path, file).map(Some)
}

/// Refuses regularisers that remember a vector, where ranks perturb on their own: on each rank it would be another one.
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

/// Refuses ranks whose parameters are not the same bits: kernels of different machines may round differently.
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
