//! Sources of images: one file for each published layout.

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

/// A part of a published data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The training images.
    Train,
    /// The test images, or the validation images of sets that publish no other part to test on, such as ImageNet.
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

/// The first of `candidates` that exists below one of `dirs`. An earlier folder takes precedence over an earlier
/// candidate.
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

/// Reads the variables of a MAT-file.
pub(crate) fn mat_variables(path: &Path) -> Result<Vec<(String, mat::Value)>> {
    mat_of(path, &read_whole(path)?)
}

/// Reads the variables of the MAT-file at `path` from its contents `bytes`.
pub(crate) fn mat_of(path: &Path, bytes: &[u8]) -> Result<Vec<(String, mat::Value)>> {
    mat::parse(bytes).map_err(|error| error.into_error(path, "MAT-file"))
}

fn read_whole(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(DataError::io(path, "read"))
}
