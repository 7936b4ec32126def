//! The header of a safetensors file: names, number formats, shapes and places. They are believed only where they agree
//! with the file.
//!
//! The crate `safetensors` is not used, because it wants the whole file in memory and takes many times a header's size
//! to parse it.
//!
//! # References
//! <https://github.com/huggingface/safetensors#format>

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range};

use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::StrDeserializer},
};

use super::{data::Data, error::WeightsError};

/// Largest header in bytes, by the format's own rule: 100 MB.
const LARGEST: u64 = 100_000_000;
/// Largest number of notes in a header.
const NOTES: usize = 4096;
/// Length of the shortest entry, `"":{"dtype":"U8","shape":[],"data_offsets":[0,0]}`, in bytes.
const ENTRY: usize = 49;
/// Largest number of axes of a tensor.
pub(super) const AXES: usize = 64;

/// The header's description of one tensor.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The bytes of the tensor in the file.
    pub(super) range: Range<u64>,
}

/// A header whose tensors fill the file exactly.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) tensors: Vec<Tensor>,
    /// `path: why` of tensors whose numbers are of a format that is not known.
    pub(super) foreign: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Header {
    pub(super) fn read(name: &str, data: &Data) -> Result<Self, WeightsError> {
        let incomplete = |problem: String| WeightsError::Incomplete {
            file: name.to_owned(),
            format: "safetensors",
            length: data.len(),
            problem,
        };
        let io = |source| WeightsError::Io { file: name.to_owned(), source };
        let first = data.head(8).map_err(io)?;
        let Ok(length) = <[u8; 8]>::try_from(&*first).map(u64::from_le_bytes) else {
            return Err(incomplete("it ends before its header; download or copy it again".into()));
        };
        if length > LARGEST {
            return Err(incomplete(format!(
                "its first 8 bytes say that the header has {length} bytes, of {LARGEST} allowed"
            )));
        }
        if length > data.len() - 8 {
            return Err(incomplete(format!(
                "its header alone has {length} bytes: the file was cut; download or copy it again"
            )));
        }
        let json = data.read(8, length).map_err(io)?;
        // An upper bound of the number of tensors, so that the list is not copied as it grows.
        let entries = (length as usize / ENTRY).min(json.iter().filter(|&&byte| byte == b'{').count());
        let mut parsed =
            Parsed { tensors: Vec::with_capacity(entries), foreign: Vec::new(), metadata: BTreeMap::new() };
        let mut parser = serde_json::Deserializer::from_slice(&json);
        (parser.deserialize_map(&mut parsed).and_then(|()| parser.end()))
            .map_err(|error| incomplete(format!("its header cannot be read: {error}")))?;
        let start = 8 + length;
        let tensors = parsed.place(start, data.len()).map_err(incomplete)?;
        Ok(Self { tensors, foreign: parsed.foreign, metadata: parsed.metadata })
    }
}

/// A tensor as JSON describes it.
#[derive(Deserialize)]
struct Info {
    dtype: Format,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// A number format, or the name of one that is not known.
enum Format {
    Known(Dtype),
    Other(String),
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Name(name) = Name::deserialize(deserializer)?;
        let known = Dtype::deserialize(StrDeserializer::<serde::de::value::Error>::new(&name));
        Ok(known.map_or_else(|_| Self::Other(name.into_owned()), Self::Known))
    }
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a shape")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut axes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(axis) = axes.next_element()? {
                    if shape.len() == AXES {
                        return Err(A::Error::custom(format!("a tensor of more than {AXES} axes")));
                    }
                    shape.push(axis);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Axes)
    }
}

struct Parsed {
    tensors: Vec<(String, Info)>,
    foreign: Vec<String>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Visitor<'de> for &mut Parsed {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = entries.next_key()? {
            if name == "__metadata__" {
                self.metadata = entries.next_value::<Option<Notes>>()?.unwrap_or_default().0;
            } else {
                self.tensors.push((name.into_owned(), entries.next_value()?));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Notes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Notes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Notes, A::Error> {
                let mut notes = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry()? {
                    if notes.len() == NOTES {
                        return Err(A::Error::custom(format!("more than {NOTES} notes in __metadata__")));
                    }
                    notes.insert(key, value);
                }
                Ok(Notes(notes))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Parsed {
    /// The tensors in the order of their bytes, which must follow one another from `start` to the end of the file.
    fn place(&mut self, start: u64, length: u64) -> Result<Vec<Tensor>, String> {
        let mut tensors = std::mem::take(&mut self.tensors);
        tensors.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Some([(name, _), _]) = tensors.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some([&pair[0], &pair[1]]),
            _ => None,
        }) {
            return Err(format!("its header has two tensors `{name}`"));
        }
        tensors.sort_unstable_by_key(|(_, info)| info.data_offsets);
        let mut end = 0;
        for (name, info) in &tensors {
            let (from, to) = info.data_offsets;
            if from != end || to < from {
                return Err(format!(
                    "tensor `{name}` is at bytes {from}..{to} of the data, expected to start at {end}"
                ));
            }
            end = to;
            let Format::Known(dtype) = &info.dtype else { continue };
            let bits = (info.shape.0.iter())
                .try_fold(dtype.bitsize() as u64, |product, &axis| product.checked_mul(axis as u64));
            if bits != (to - from).checked_mul(8) {
                let shape = &info.shape.0;
                return Err(format!(
                    "tensor `{name}` of {} {shape:?} cannot have {} bytes",
                    dtype,
                    to - from
                ));
            }
        }
        let found = length - start;
        if end > found {
            return Err(format!(
                "its header lists {end} bytes of numbers, {found} are there: the file was cut; download or copy it again"
            ));
        }
        if end < found {
            return Err(format!("{} bytes follow the last tensor of its header", found - end));
        }
        let mut placed = Vec::with_capacity(tensors.len());
        for (name, Info { dtype, shape, data_offsets: (from, to) }) in tensors {
            match dtype {
                Format::Known(dtype) => {
                    placed.push(Tensor { name, dtype, shape: shape.0, range: start + from..start + to });
                }
                Format::Other(format) => self.foreign.push(format!("{name}: a tensor of {format} numbers")),
            }
        }
        Ok(placed)
    }
}
