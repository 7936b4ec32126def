//! Storages of PyTorch, which are the runs of numbers behind tensors, as a pickle describes them.

use safetensors::Dtype;

use gnr_pickle::{Id, Pickle, View};

/// The kind of the numbers of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers of this format.
    Numbers(Dtype),
    /// Bytes, whose format the tensors state.
    Untyped,
    /// Numbers that no weight is made of, with their size in bytes.
    Other(&'static str, u64),
}

impl Kind {
    /// Bytes of an element.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Numbers(dtype) => dtype.bitsize() as u64 / 8,
            Self::Untyped => 1,
            Self::Other(_, size) => size,
        }
    }

    fn of_class(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" => Self::Numbers(Dtype::F64),
            "FloatStorage" => Self::Numbers(Dtype::F32),
            "HalfStorage" => Self::Numbers(Dtype::F16),
            "BFloat16Storage" => Self::Numbers(Dtype::BF16),
            "LongStorage" => Self::Numbers(Dtype::I64),
            "IntStorage" => Self::Numbers(Dtype::I32),
            "ShortStorage" => Self::Numbers(Dtype::I16),
            "CharStorage" => Self::Numbers(Dtype::I8),
            "ByteStorage" => Self::Numbers(Dtype::U8),
            "BoolStorage" => Self::Numbers(Dtype::BOOL),
            "UntypedStorage" | "_UntypedStorage" => Self::Untyped,
            "ComplexDoubleStorage" => Self::Other("complex numbers", 16),
            "ComplexFloatStorage" => Self::Other("complex numbers", 8),
            "QInt32Storage" => Self::Other("quantised numbers", 4),
            "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
                Self::Other("quantised numbers", 1)
            }
            _ => return None,
        })
    }

    /// The number format that PyTorch calls `name`.
    pub(super) fn of_dtype(name: &str) -> Option<Self> {
        Some(Self::Numbers(match name {
            "float64" | "double" => Dtype::F64,
            "float32" | "float" => Dtype::F32,
            "float16" | "half" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            "float8_e4m3fn" => Dtype::F8_E4M3,
            "float8_e5m2" => Dtype::F8_E5M2,
            "float8_e4m3fnuz" => Dtype::F8_E4M3FNUZ,
            "float8_e5m2fnuz" => Dtype::F8_E5M2FNUZ,
            "float8_e8m0fnu" => Dtype::F8_E8M0,
            "int64" | "long" => Dtype::I64,
            "int32" | "int" => Dtype::I32,
            "int16" | "short" => Dtype::I16,
            "int8" => Dtype::I8,
            "uint64" => Dtype::U64,
            "uint32" => Dtype::U32,
            "uint16" => Dtype::U16,
            "uint8" => Dtype::U8,
            "bool" => Dtype::BOOL,
            _ => return None,
        }))
    }
}

/// A storage as a pickle refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) kind: Kind,
    /// Name of the storage in the file.
    pub(super) key: String,
    /// Number of elements of the whole storage.
    pub(super) length: u64,
    /// First element and number of elements of the part that is used. Before PyTorch 0.4, files have views of storages.
    pub(super) part: (u64, u64),
}

/// The meaning of a persistent id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Storage(Storage),
    /// The class of a module, with its source code beside it.
    Class(Id),
    /// A storage that cannot be used, and why.
    Unknown(String),
}

impl Reference {
    /// Reads `(storage, class, key, device, length)`, with a view in legacy files, or `(module, class, file, source)`.
    pub(super) fn read(pickle: &Pickle<'_>, id: Id) -> Self {
        let unknown = |what: &str| Self::Unknown(what.to_owned());
        let Some(fields) = pickle.items(id) else {
            return unknown(match pickle.text(id) {
                Some(_) => "pickle protocol 0; write it again with protocol 2",
                None => "a reference of an unknown form",
            });
        };
        let is = |word: &str| {
            fields.first().and_then(|&first| pickle.text(first)).is_some_and(|text| text.is(word))
        };
        match *fields {
            [_, class, ..] if is("module") => Self::Class(class),
            [_, class, key, _device, length, ref view @ ..] if is("storage") => {
                let View::Global(class) = pickle.view(class) else {
                    return unknown("a storage without a class");
                };
                let name =
                    ["torch", "torch.cuda", "torch.storage"].iter().find_map(|module| class.of(module));
                let Some(kind) = name.and_then(Kind::of_class) else {
                    return Self::Unknown(format!("a storage of class {class}"));
                };
                let key = match pickle.view(key) {
                    View::Text(key) => key.decode().into_owned(),
                    View::Int(key) => key.to_string(),
                    _ => return unknown("a storage without a name"),
                };
                let Some(length) = unsigned(pickle, length) else {
                    return unknown("a storage without a length");
                };
                let part = match view.first().map(|&view| pickle.view(view)) {
                    None | Some(View::Other) => Some((0, length)),
                    Some(View::Items(&[_key, start, part])) => (unsigned(pickle, start)
                        .zip(unsigned(pickle, part)))
                    .filter(|(start, part)| start.checked_add(*part).is_some_and(|end| end <= length)),
                    Some(_) => None,
                };
                match part {
                    Some(part) => Self::Storage(Storage { kind, key, length, part }),
                    None => unknown("a part of a storage that is not within it"),
                }
            }
            _ => unknown("a reference of an unknown form"),
        }
    }
}

pub(super) fn unsigned(pickle: &Pickle<'_>, id: Id) -> Option<u64> {
    match pickle.view(id) {
        View::Int(value) => u64::try_from(value).ok(),
        _ => None,
    }
}
