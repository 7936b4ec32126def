//! IDX, the format of MNIST and its family: a magic number, big-endian dimensions, then the values.
//!
//! Layout (<http://yann.lecun.com/exdb/mnist/>): bytes 0 and 1 are zero, byte 2 is the type (0x08, unsigned byte, is
//! the only one in these sets), byte 3 the number of dimensions. One big-endian u32 for each dimension follows, then
//! the values, last dimension fastest. Published files are gzipped; both forms are read and told apart by their
//! content.

use std::path::Path;

use super::kind::what_is;
use super::read::Input;
use crate::error::{DataError, Result};

/// The contents of an IDX file of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// The dimensions, slowest first.
    pub dims: Vec<usize>,
    /// The values, of which there are `dims.iter().product()`.
    pub values: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `rank` dimensions, gzipped or not.
///
/// # Errors
/// [`DataError::NoImages`] for an empty file, [`DataError::WrongMagic`], [`DataError::Dimensions`] when their product
/// overflows, [`DataError::Truncated`], [`DataError::TrailingBytes`], [`DataError::Gzip`], [`DataError::Io`].
///
/// # Cost
/// Memory in proportion to the data in the file, never to the sizes that a damaged header declares.
pub fn read_idx(path: &Path, rank: u8) -> Result<IdxArray> {
    parse(path, Input::open(path)?, rank)
}

/// Parses a file like [`read_idx`]; `input` is its contents.
pub(super) fn parse(path: &Path, mut input: Input<'_>, rank: u8) -> Result<IdxArray> {
    let magic = match input.exactly(4, "magic number") {
        // "Truncated" would not say that the file is empty.
        Err(DataError::Truncated { found: 0, .. }) => {
            let reason = "the file is empty".into();
            return Err(DataError::NoImages { path: path.to_path_buf(), reason });
        }
        magic => magic?,
    };
    let expected = [0, 0, 8, rank];
    if magic != expected {
        let start = [&magic[..], &input.some(60)].concat();
        return Err(DataError::WrongMagic {
            path: path.to_path_buf(),
            expected: format!("{expected:02x?} (unsigned bytes, {rank} dimensions)"),
            found: format!("{magic:02x?}, {}", what_is(&start)),
        });
    }
    let header = input.exactly(4 * u64::from(rank), "dimensions")?;
    let dims: Vec<u32> =
        header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    // A zero anywhere makes the array empty; the product of the dimensions before it must not overflow first.
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
