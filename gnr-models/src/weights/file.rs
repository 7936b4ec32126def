//! A weight file of either kind as named tensors: safetensors, or a PyTorch checkpoint of any age.
//!
//! PyTorch checkpoints are pickles, which Python *runs*. They are parsed here by `pytorch-reader`: an interpreter of the
//! opcodes that only knows how to rebuild tensors and plain containers. Any other class or function in the file is kept as
//! its name and never called ([`WeightFile::foreign`] lists them); one that would make a tensor is refused.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    io::Read,
    ops::Range,
    path::Path,
};

use pytorch_reader::{DType, FileFormat, PickleValue, PytorchReader, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::{WeightsError, number};

/// What a weight file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a ZIP archive.
    TorchZip,
    /// `torch.save` before 1.6, or without `_use_new_zipfile_serialization`: a row of pickles.
    TorchLegacy,
    /// `torch.save` before 0.1.10: a TAR archive.
    TorchTar,
    /// A pickle without tensor data.
    Pickle,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch, zip",
            Self::TorchLegacy => "PyTorch, legacy pickle",
            Self::TorchTar => "PyTorch, tar",
            Self::Pickle => "plain pickle",
        })
    }
}

/// The description of one stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Full dotted name, containers included (`state_dict.fc.weight`).
    pub name: String,
    /// Number format, in the words of safetensors.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
}

impl Stored {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Source {
    /// The file, and where in it each tensor lies.
    Safetensors(Vec<u8>, HashMap<String, Range<usize>>),
    Torch(HashMap<String, Tensor>),
}

/// A weight file, its tensors known but not yet read.
pub struct WeightFile {
    /// Stands for the file in errors and reports.
    pub(super) name: String,
    format: Format,
    source: Source,
    stored: Vec<Stored>,
    length: u64,
    metadata: BTreeMap<String, String>,
    foreign: Vec<String>,
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightFile")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("tensors", &self.stored.len())
            .finish_non_exhaustive()
    }
}

impl WeightFile {
    /// Opens a file of either kind; the kind is told by its first bytes.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of neither kind; each names the file.
    ///
    /// # Cost
    /// A safetensors file is read whole; of a PyTorch checkpoint only the pickle, tensors when they are asked for.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let io = |source| WeightsError::Io { file: name.clone(), source };
        let length = fs::metadata(path).map_err(io)?.len();
        let mut first = [0; 9];
        let mut file = fs::File::open(path).map_err(io)?;
        let is_torch = match file.read_exact(&mut first) {
            // The header of safetensors: eight bytes of length, then JSON.
            Ok(()) => first[8] != b'{' && path.extension().is_none_or(|extension| extension != "safetensors"),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(io(error)),
        };
        if is_torch {
            return Self::open_torch(path, name, length);
        }
        Self::from_bytes(&name, fs::read(path).map_err(io)?)
    }

    /// A safetensors file from memory; `name` stands for the file in errors.
    ///
    /// # Errors
    /// Bytes that are not a whole safetensors file.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        let damaged = |source| WeightsError::Damaged { file: name.to_owned(), length: bytes.len(), source };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        // Checks that the tensors fill the file exactly.
        SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let tensors = header.tensors();
        let mut stored: Vec<_> = (tensors.iter())
            .map(|(name, info)| Stored { name: name.clone(), dtype: info.dtype, shape: info.shape.clone() })
            .collect();
        let data = bytes.len() - tensors.values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        let ranges = (tensors.iter())
            .map(|(name, info)| (name.clone(), data + info.data_offsets.0..data + info.data_offsets.1))
            .collect();
        stored.sort_by(|a, b| natural(&a.name, &b.name));
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self {
            name: name.to_owned(),
            format: Format::Safetensors,
            length: bytes.len() as u64,
            source: Source::Safetensors(bytes, ranges),
            stored,
            metadata,
            foreign: Vec::new(),
        })
    }

    fn open_torch(path: &Path, name: String, length: u64) -> Result<Self, WeightsError> {
        let torch = |source| WeightsError::Torch { file: name.clone(), length, source: Box::new(source) };
        let reader = PytorchReader::new(path).map_err(torch)?;
        let format = match reader.metadata().format_type {
            FileFormat::Zip => Format::TorchZip,
            FileFormat::Legacy => Format::TorchLegacy,
            FileFormat::Tar => Format::TorchTar,
            FileFormat::Pickle => Format::Pickle,
        };
        let foreign = foreign(&PytorchReader::read_pickle_data(path, None).map_err(torch)?);
        let tensors = reader.into_tensors();
        let mut stored: Vec<_> = (tensors.values())
            .map(|tensor| Stored {
                name: tensor.name.clone(),
                dtype: dtype(tensor.dtype()),
                shape: tensor.shape().to_vec(),
            })
            .collect();
        stored.sort_by(|a, b| natural(&a.name, &b.name));
        let source = Source::Torch(tensors);
        Ok(Self { name, format, source, stored, length, metadata: BTreeMap::new(), foreign })
    }

    /// What kind of file it is.
    pub fn format(&self) -> Format {
        self.format
    }
    /// Its tensors, sorted by name with numbers in their order (`layer.2` before `layer.10`).
    pub fn stored(&self) -> &[Stored] {
        &self.stored
    }
    /// The file's own notes (safetensors only).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
    /// `path: class` of every Python object in the file that is neither tensor nor plain data. They were not called.
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// The bytes of a tensor: row-major, little-endian, whatever strides it is stored with.
    ///
    /// # Errors
    /// A tensor that is not there; a storage that is cut, altered, or smaller than the tensor claims. The length is
    /// checked against the file's before anything is allocated.
    pub fn bytes(&self, tensor: &str) -> Result<Vec<u8>, WeightsError> {
        let (file, tensor) = (self.name.clone(), tensor.to_owned());
        match &self.source {
            Source::Safetensors(bytes, ranges) => (ranges.get(&tensor))
                .and_then(|range| bytes.get(range.clone()))
                .map(<[u8]>::to_vec)
                .ok_or(WeightsError::Missing { file, tensor, others: 0 }),
            Source::Torch(tensors) => {
                let Some(found) = tensors.get(&tensor) else {
                    return Err(WeightsError::Missing { file, tensor, others: 0 });
                };
                // A view with stride 0 may claim any size; no weight is larger than its file.
                let claimed = found.byte_len() as u64;
                if claimed > self.length {
                    let length = self.length;
                    return Err(WeightsError::TooLarge { file, tensor, claimed, length });
                }
                let mut bytes = found.read().map_err(|source| WeightsError::Storage { file, source })?;
                if cfg!(target_endian = "big") {
                    bytes.chunks_exact_mut(found.dtype().size()).for_each(<[u8]>::reverse);
                }
                Ok(bytes)
            }
        }
    }

    /// The numbers of a floating-point tensor (F64, F32, F16, BF16).
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and another number format.
    pub fn values(&self, stored: &Stored) -> Result<Vec<f64>, WeightsError> {
        let bytes = self.bytes(&stored.name)?;
        number::decode(stored.dtype, &bytes).ok_or_else(|| WeightsError::NumberFormat {
            file: self.name.clone(),
            tensor: stored.name.clone(),
            found: format!("{:?}", stored.dtype),
        })
    }

    /// Sum of the elements and CRC-32C of the bytes, to compare tensors of two files by eye.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn fingerprint(&self, stored: &Stored) -> Result<(Option<f64>, u32), WeightsError> {
        let bytes = self.bytes(&stored.name)?;
        let sum = number::decode_any(stored.dtype, &bytes).map(|values| values.iter().sum());
        Ok((sum, crc32c::crc32c(&bytes)))
    }
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// The Python objects that were not interpreted, each with its path.
fn foreign(root: &PickleValue) -> Vec<String> {
    fn walk(value: &PickleValue, path: &str, found: &mut Vec<String>) {
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            PickleValue::Dict(entries) => {
                entries.iter().for_each(|(key, value)| walk(value, &join(key), found))
            }
            PickleValue::List(items) => {
                items.iter().enumerate().for_each(|(i, value)| walk(value, &join(&i.to_string()), found));
            }
            PickleValue::Unsupported(class) if class != "torch.Tensor" => {
                found.push(format!("{path}: {class}"))
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(root, "", &mut found);
    found.sort();
    found
}

/// Compares names part by part, numbers as numbers.
pub(super) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |name: &str| -> Vec<(u64, String)> {
        name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned())).collect()
    };
    key(a).cmp(&key(b))
}
