//! Reading of the numbers of a checkpoint's tensors: places of the storages, and views of storages as rows.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Mutex, PoisonError},
};

use super::{storage::Storage, tensor::Tensor, walk::Found};
use crate::weights::{
    WeightsError,
    data::Data,
    file::{Format, natural},
    zip::{Archive, Entry, ZipError},
};

/// The places of a checkpoint's storages.
pub(in crate::weights) enum Container {
    /// Members of an archive.
    Zip {
        archive: Archive,
        /// The folder of the members, which precedes the keys.
        folder: Vec<u8>,
        /// Whether numbers are big-endian.
        big_endian: bool,
        /// Members whose checksum was compared.
        verified: Mutex<HashSet<Entry>>,
    },
    /// Ranges of the file, by key.
    Legacy(HashMap<String, (u64, u64)>),
}

/// A PyTorch checkpoint: tensors by name, none of them read.
pub(in crate::weights) struct Checkpoint {
    pub(in crate::weights) format: Format,
    /// Names and descriptions, sorted by name.
    pub(in crate::weights) tensors: Vec<(String, Tensor)>,
    pub(in crate::weights) foreign: Vec<String>,
    container: Container,
}

/// The reasons why a tensor's numbers cannot be read.
enum Failure {
    Io(io::Error),
    Storage(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Bytes by which a tensor may exceed the file. A small tensor may repeat a number (stride 0) without being an attack.
const ROOM: u64 = 1 << 16;

impl Checkpoint {
    pub(super) fn new(format: Format, found: Found, container: Container) -> Self {
        let Found { mut tensors, mut foreign } = found;
        tensors.sort_unstable_by(|(a, _), (b, _)| natural(a, b));
        // `{"a.b": …}` beside `{"a": {"b": …}}` gives two tensors one name, so neither is read.
        let mut twice: Vec<String> = (tensors.windows(2))
            .filter(|pair| pair[0].0 == pair[1].0)
            .map(|pair| pair[0].0.clone())
            .collect();
        twice.dedup();
        if !twice.is_empty() {
            tensors.retain(|(name, _)| twice.binary_search_by(|other| natural(other, name)).is_err());
        }
        foreign.extend(twice.into_iter().map(|name| format!("{name}: two tensors of one name")));
        foreign.sort();
        Self { format, tensors, foreign, container }
    }

    /// A tensor by its name.
    pub(in crate::weights) fn find(&self, name: &str) -> Option<&Tensor> {
        let found = self.tensors.binary_search_by(|(other, _)| natural(other, name)).ok()?;
        self.tensors.get(found).map(|(_, tensor)| tensor)
    }

    /// Number format and shape of a tensor.
    pub(in crate::weights) fn shape_of(tensor: &Tensor) -> (safetensors::Dtype, &[usize]) {
        (tensor.dtype, &tensor.shape)
    }

    /// The bytes of a tensor: row-major, little-endian.
    pub(in crate::weights) fn bytes(
        &self,
        file: &str,
        data: &Data,
        name: &str,
        tensor: &Tensor,
    ) -> Result<Vec<u8>, WeightsError> {
        let (file, name) = (file.to_owned(), name.to_owned());
        let size = tensor.dtype.bitsize() as u64 / 8;
        // Stride 0 would allow a view of any size.
        let claimed = tensor.len() * size;
        if claimed > data.len() + ROOM {
            return Err(WeightsError::TooLarge { file, tensor: name, claimed, length: data.len() });
        }
        self.numbers(data, tensor, size as usize).map_err(|failure| match failure {
            Failure::Io(source) => WeightsError::Io { file, source },
            Failure::Storage(problem) => WeightsError::Storage { file, tensor: name, problem },
        })
    }

    fn numbers(&self, data: &Data, tensor: &Tensor, size: usize) -> Result<Vec<u8>, Failure> {
        if tensor.len() == 0 {
            return Ok(Vec::new());
        }
        let (start, length) = self.place(data, &tensor.storage)?;
        let expected = tensor.storage.length.checked_mul(tensor.storage.kind.size());
        if expected != Some(length) {
            let key = &tensor.storage.key;
            let expected = expected.map_or_else(|| "more than 2⁶⁴".to_owned(), |bytes| bytes.to_string());
            return Err(Failure::Storage(format!(
                "its storage `{key}` has {length} bytes, expected {expected}"
            )));
        }
        // `tensor::check` has made sure that the view lies within the storage.
        let first = tensor.storage.part.0 * tensor.storage.kind.size() + tensor.offset * size as u64;
        let bytes = data.read(start + first, tensor.extent() * size as u64)?;
        let mut numbers = match tensor.is_contiguous() {
            true => bytes.into_owned(),
            false => gather(&bytes, tensor, size),
        };
        let swapped = matches!(self.container, Container::Zip { big_endian: true, .. });
        if swapped {
            numbers.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if tensor.negated {
            negate(&mut numbers, tensor.dtype)?;
        }
        Ok(numbers)
    }

    /// Offset of a storage in the file, and its length in bytes.
    fn place(&self, data: &Data, storage: &Storage) -> Result<(u64, u64), Failure> {
        let missing = || Failure::Storage(format!("its storage `{}` is not in the file", storage.key));
        match &self.container {
            Container::Legacy(places) => places.get(&storage.key).copied().ok_or_else(missing),
            Container::Zip { archive, folder, verified, .. } => {
                let entry = archive.find(&[folder, storage.key.as_bytes()].concat()).ok_or_else(missing)?;
                let failure = |error| match error {
                    ZipError::Io(error) => Failure::Io(error),
                    other => Failure::Storage(other.to_string()),
                };
                if !verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&entry) {
                    archive.verify(data, entry).map_err(failure)?;
                    verified.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
                }
                Ok((archive.start(data, entry).map_err(failure)?, archive.length(entry)))
            }
        }
    }
}

/// Copies the elements of a view in row-major order; `bytes` start at its first element.
fn gather(bytes: &[u8], tensor: &Tensor, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(tensor.len() as usize * size);
    let mut index = vec![0usize; tensor.shape.len()];
    let mut at = 0u64;
    loop {
        let start = at as usize * size;
        out.extend_from_slice(bytes.get(start..start + size).unwrap_or_default());
        let mut axis = tensor.shape.len();
        loop {
            let Some(next) = axis.checked_sub(1) else { return out };
            axis = next;
            index[axis] += 1;
            at += tensor.strides[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            at -= tensor.strides[axis] * tensor.shape[axis] as u64;
            index[axis] = 0;
        }
    }
}

/// Flips the sign of floating-point numbers.
fn negate(bytes: &mut [u8], dtype: safetensors::Dtype) -> Result<(), Failure> {
    use safetensors::Dtype;
    let size = match dtype {
        Dtype::F64 => 8,
        Dtype::F32 => 4,
        Dtype::F16 | Dtype::BF16 => 2,
        _ => return Err(Failure::Storage(format!("a negated view of {dtype} numbers"))),
    };
    // The sign is the highest bit of the last byte.
    bytes.iter_mut().skip(size - 1).step_by(size).for_each(|byte| *byte ^= 0x80);
    Ok(())
}
