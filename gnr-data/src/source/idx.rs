//! IDX, the format of MNIST and its family: a magic number, big-endian dimensions, then the values.
//!
//! Layout (<http://yann.lecun.com/exdb/mnist/>): bytes 0 and 1 are zero, byte 2 the type (0x08: unsigned byte, the
//! only one these sets use), byte 3 the number of dimensions, then one big-endian u32 a dimension, then the values,
//! last dimension fastest. Published files are gzipped; both forms are read, told apart by their content.

use std::path::{Path, PathBuf};

use super::read::Input;
use super::{Part, check_labels, locate};
use crate::dataset::InMemory;
use crate::error::{DataError, Result};

/// The contents of an IDX file of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// Dimensions, slowest first.
    pub dims: Vec<usize>,
    /// Values, `dims.iter().product()` of them.
    pub values: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `rank` dimensions, gzipped or not.
///
/// # Errors
/// [`DataError::WrongMagic`], [`DataError::Dimensions`] when their product overflows, [`DataError::Truncated`],
/// [`DataError::TrailingBytes`], [`DataError::Gzip`], [`DataError::Io`].
///
/// # Cost
/// Memory in proportion to the data that are there; never to what a damaged header declares.
pub fn read_idx(path: &Path, rank: u8) -> Result<IdxArray> {
    let mut input = Input::open(path)?;
    let magic = input.exactly(4, "magic number")?;
    let expected = [0, 0, 8, rank];
    if magic != expected {
        return Err(DataError::WrongMagic {
            path: path.to_path_buf(),
            expected: format!("{expected:02x?} (unsigned bytes, {rank} dimensions)"),
            found: format!("{magic:02x?}"),
        });
    }
    let header = input.exactly(4 * u64::from(rank), "dimensions")?;
    let dims: Vec<u32> =
        header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    // A zero makes the array empty wherever it stands; the product of what precedes it must not overflow first.
    let product = match dims.contains(&0) {
        true => Some(0),
        false => dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim.into())),
    };
    let Some(length) = product.filter(|&length| usize::try_from(length).is_ok()) else {
        let reason = "their product does not fit in memory".to_string();
        return Err(DataError::Dimensions { path: path.to_path_buf(), dims, reason });
    };
    let values = input.exactly(length, &format!("array of dimensions {dims:?}"))?;
    input.end()?;
    Ok(IdxArray { dims: dims.into_iter().map(|dim| dim as usize).collect(), values })
}

/// What distinguishes the members of the MNIST family.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) classes: &'static [&'static str],
    /// Folders to look in below the one given (torchvision keeps the files in `MNIST/raw`).
    pub(crate) below: &'static [&'static str],
    /// Where a distribution's package installs the files; used when no folder is given.
    pub(crate) installed: Option<&'static str>,
    pub(crate) hint: &'static str,
}

/// Opens `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]` (also spelt `images.idx3`) of `dir`.
pub(crate) fn open(family: &Family, dir: Option<&Path>, part: Part) -> Result<InMemory> {
    let dirs: Vec<PathBuf> = match dir {
        Some(dir) => family.below.iter().map(|below| dir.join(below)).collect(),
        None => family.installed.iter().map(PathBuf::from).collect(),
    };
    let stem = match part {
        Part::Train => "train",
        Part::Test => "t10k",
    };
    let find = |kind: &str, rank: u8| {
        let names = [
            format!("{stem}-{kind}-idx{rank}-ubyte"),
            format!("{stem}-{kind}-idx{rank}-ubyte.gz"),
            format!("{stem}-{kind}.idx{rank}-ubyte"),
            format!("{stem}-{kind}.idx{rank}-ubyte.gz"),
        ];
        locate(&dirs, &names).ok_or_else(|| DataError::MissingData {
            dataset: family.name,
            what: format!("{}[.gz]", names[0]),
            looked_in: dirs.clone(),
            hint: family.hint,
        })
    };
    let (images_path, labels_path) = (find("images", 3)?, find("labels", 1)?);
    let (images, labels) = (read_idx(&images_path, 3)?, read_idx(&labels_path, 1)?);
    if images.dims[0] != labels.dims[0] {
        return Err(DataError::CountMismatch {
            images_from: images_path,
            images: images.dims[0],
            labels_from: labels_path,
            labels: labels.dims[0],
        });
    }
    if images.values.is_empty() {
        let reason = format!("the file declares dimensions {:?}", images.dims);
        return Err(DataError::NoImages { path: images_path, reason });
    }
    check_labels(&labels_path, &labels.values, family.classes.len(), |record| 8 + record as u64)?;
    InMemory::new(
        format!("{} {part} ({})", family.name, images_path.display()),
        [1, images.dims[1], images.dims[2]],
        family.classes.iter().map(|name| (*name).to_string()).collect(),
        images.values,
        labels.values.into_iter().map(usize::from).collect(),
    )
}
