//! A weight file of any kind as named tensors: safetensors, a PyTorch checkpoint of any age, TorchScript.
//!
//! The content decides the kind, whatever the file is named. PyTorch checkpoints are pickles, which Python *runs*; here
//! they are parsed as data. Only calls that rebuild tensors are understood. Any other object is kept as its path and
//! class ([`WeightFile::foreign`] lists them).

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    ops::Range,
    path::Path,
};

use gnr_pickle::Budget;
use safetensors::Dtype;

use super::{
    WeightsError,
    data::Data,
    header::Header,
    kind, number,
    torch::{self, Checkpoint},
};

/// The kind of a weight file, decided by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a ZIP archive.
    TorchZip,
    /// `torch.save` before 1.6, or without `_use_new_zipfile_serialization`: a row of pickles.
    TorchLegacy,
    /// `torch.jit.save`: a ZIP archive with code beside the tensors.
    TorchScript,
    /// A pickle of another program, which holds no tensors of PyTorch.
    Pickle,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch, zip",
            Self::TorchLegacy => "PyTorch, legacy pickle",
            Self::TorchScript => "PyTorch, TorchScript",
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
    /// Shape of the tensor.
    pub shape: Vec<usize>,
}

impl Stored {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Source {
    Safetensors {
        /// The byte range of each tensor in the file.
        ranges: HashMap<String, Range<u64>>,
        foreign: Vec<String>,
    },
    Torch(Checkpoint),
}

/// A weight file, its tensors known but not yet read.
pub struct WeightFile {
    /// The name of the file in errors and reports.
    pub(super) name: String,
    data: Data,
    format: Format,
    source: Source,
    stored: Vec<Stored>,
    metadata: BTreeMap<String, String>,
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
    /// Opens a file of any kind.
    ///
    /// # Errors
    /// A file that cannot be read, was cut or altered, or is no weight file. Each error names the file and, if its
    /// bytes tell, its kind.
    ///
    /// # Cost
    /// Header or pickle are read now, tensors when they are asked for. Memory is at most 8 times the file and a
    /// megabyte, whatever sizes the file declares.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let io = |source| WeightsError::Io { file: name.clone(), source };
        let about = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_symlink() => {
                return Err(kind::dangling(&name, &fs::read_link(path).map_err(io)?));
            }
            about => about.map_err(io)?,
        };
        if about.is_dir() {
            return Err(kind::directory(&name, path));
        }
        if !about.is_file() {
            return Err(kind::no_file(&name));
        }
        let data = Data::open(path).map_err(io)?;
        Self::from_data(name, data)
    }

    /// Reads a file of any kind from memory; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        Self::from_data(name.to_owned(), Data::Memory(bytes))
    }

    fn from_data(name: String, data: Data) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io { file: name.clone(), source };
        let head = data.head(16).map_err(io)?.into_owned();
        let mut budget = Budget::of(data.len());
        // The header of safetensors: eight bytes of length, then JSON.
        if head.get(8) == Some(&b'{') {
            return Self::of_safetensors(name, data);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            let checkpoint = torch::open_zip(&name, &data, &mut budget)?;
            return Ok(Self::of_torch(name, data, checkpoint));
        }
        let says_pickle = matches!(head[..], [0x80, 0..=5, ..]);
        if !says_pickle && let Some(error) = kind::other(&name, &data).map_err(io)? {
            return Err(error);
        }
        match torch::open_pickle(&name, &data, &mut budget)? {
            Some(checkpoint) => Ok(Self::of_torch(name, data, checkpoint)),
            None if name.ends_with(".safetensors") => Self::of_safetensors(name, data),
            None => Err(kind::unknown(&name, &data).map_err(io)?),
        }
    }

    fn of_safetensors(name: String, data: Data) -> Result<Self, WeightsError> {
        let Header { tensors, foreign, metadata } = Header::read(&name, &data)?;
        let mut stored = Vec::with_capacity(tensors.len());
        let mut ranges = HashMap::with_capacity(tensors.len());
        for tensor in tensors {
            ranges.insert(tensor.name.clone(), tensor.range);
            stored.push(Stored { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape });
        }
        stored.sort_unstable_by(|a, b| natural(&a.name, &b.name));
        let source = Source::Safetensors { ranges, foreign };
        Ok(Self { name, data, format: Format::Safetensors, source, stored, metadata })
    }

    fn of_torch(name: String, data: Data, checkpoint: Checkpoint) -> Self {
        let stored = (checkpoint.tensors.iter())
            .map(|(name, tensor)| {
                let (dtype, shape) = Checkpoint::shape_of(tensor);
                Stored { name: name.clone(), dtype, shape: shape.to_vec() }
            })
            .collect();
        let format = checkpoint.format;
        let source = Source::Torch(checkpoint);
        Self { name, data, format, source, stored, metadata: BTreeMap::new() }
    }

    /// The kind of the file.
    pub fn format(&self) -> Format {
        self.format
    }
    /// The tensors of the file, sorted by name with numbers in their order (`layer.2` before `layer.10`).
    pub fn stored(&self) -> &[Stored] {
        &self.stored
    }
    /// The file's own notes (safetensors only).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
    /// CRC-32C of the whole file as it was opened, whatever lies at its path by now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn checksum(&self) -> Result<u32, WeightsError> {
        let io = |source| WeightsError::Io { file: self.name.clone(), source };
        self.data.checksum().map_err(io)
    }
    /// The objects that were not read, sorted. A line is `path: class` for a Python object that is neither tensor nor
    /// plain data, `path: why` for a tensor that cannot be read. None of them was called.
    pub fn foreign(&self) -> &[String] {
        match &self.source {
            Source::Safetensors { foreign, .. } => foreign,
            Source::Torch(checkpoint) => &checkpoint.foreign,
        }
    }

    /// The bytes of a tensor: row-major, little-endian, whatever strides it is stored with.
    ///
    /// # Errors
    /// A tensor that is not there; a storage that is cut, altered, or smaller than the tensor claims. The length is
    /// checked against the file's before anything is allocated.
    pub fn bytes(&self, tensor: &str) -> Result<Vec<u8>, WeightsError> {
        let missing = || WeightsError::Missing {
            file: self.name.clone(),
            tensor: tensor.to_owned(),
            others: 0,
            note: String::new(),
        };
        match &self.source {
            Source::Safetensors { ranges, .. } => {
                let range = ranges.get(tensor).ok_or_else(missing)?;
                let bytes = self.data.read(range.start, range.end - range.start);
                let io = |source| WeightsError::Io { file: self.name.clone(), source };
                Ok(bytes.map_err(io)?.into_owned())
            }
            Source::Torch(checkpoint) => {
                let found = checkpoint.find(tensor).ok_or_else(missing)?;
                checkpoint.bytes(&self.name, &self.data, tensor, found)
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
        Ok((number::sum(stored.dtype, &bytes), crc32c::crc32c(&bytes)))
    }
}

/// Compares names part by part, numbers as numbers.
pub(super) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    fn key(part: &str) -> (u64, &str) {
        (part.parse().unwrap_or(u64::MAX), part)
    }
    a.split('.').map(key).cmp(b.split('.').map(key))
}
