//! Where images come from: one file a published layout.

pub(crate) mod cars;
pub(crate) mod cifar;
pub(crate) mod decode;
pub(crate) mod digits;
pub(crate) mod emnist;
mod fault;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod food101;
pub(crate) mod gzip;
pub(crate) mod idx;
pub(crate) mod imagenet;
mod jpeg;
pub(crate) mod kind;
mod mat;
pub(crate) mod mnist;
pub(crate) mod pets;
mod pickle;
mod places;
mod read;
#[cfg(feature = "testing")]
pub mod testing;
pub(crate) mod text;
pub(crate) mod walk;

use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
use text::read_text;

/// The half of a published data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Training images.
    Train,
    /// Test images (for sets that only publish a validation part, e.g. ImageNet: that one).
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// The first of `candidates` that exists below one of `dirs`, in that order of importance: folders first.
fn locate(dirs: &[PathBuf], candidates: &[String]) -> Option<PathBuf> {
    dirs.iter().flat_map(|dir| candidates.iter().map(move |name| dir.join(name))).find(|path| path.exists())
}

/// Fails unless every label is below `classes`. `offset(record)` is where the label of a record lies in `path`.
fn check_labels(path: &Path, labels: &[u8], classes: usize, offset: impl Fn(usize) -> u64) -> Result<()> {
    match labels.iter().enumerate().find(|&(_, &label)| usize::from(label) >= classes) {
        Some((record, &label)) => Err(DataError::LabelRange {
            path: path.to_path_buf(),
            record,
            offset: offset(record),
            label: label.into(),
            classes,
        }),
        None => Ok(()),
    }
}

/// The variables of a MAT-file.
pub(crate) fn mat_variables(path: &Path) -> Result<Vec<(String, mat::Value)>> {
    mat_of(path, &read_whole(path)?)
}

/// The variables of the MAT-file at `path`, whose contents are `bytes`.
pub(crate) fn mat_of(path: &Path, bytes: &[u8]) -> Result<Vec<(String, mat::Value)>> {
    mat::parse(bytes).map_err(|error| error.into_error(path, "MAT-file"))
}

fn read_whole(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(DataError::io(path, "read"))
}
