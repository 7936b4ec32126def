//! The part of Python's pickle format that CIFAR's "python version" needs, read as data and never as code.
//!
//! A file is run on a stack machine whose values are indices into one arena; texts and bytes are ranges of the file.
//! Nothing is ever called or copied, shared values cannot multiply, and memory is in proportion to the file. A `GLOBAL`
//! is kept as a name, and its call as (name, arguments, state). [`Pickle::array`] reads numpy's arrays from these.
//!
//! Protocols 0 to 5 (Python 2's cPickle wrote the published files with protocol 2). Reference: CPython,
//! `Lib/pickletools.py`.

mod machine;

use std::borrow::Cow;
use std::ops::Range;

use super::fault::Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// Index of a value in the arena.
pub(super) type Id = usize;

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A value that these files never use, such as `None` and floats.
    Other,
    Int(i64),
    /// Text or bytes, which Python 2 does not tell apart.
    Bytes(Range<usize>, Form),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The name `module name` of a function or class.
    Global(String),
    /// The call of `callable` with `arguments`, followed by setting `state`.
    Object {
        callable: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// The encoding of text or bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Unchanged bytes; text is in UTF-8.
    Plain,
    /// A quoted string with Python's escapes (protocol 0).
    Quoted,
    /// Latin-1, with `\uXXXX` for other characters (protocol 0).
    Escaped,
}

/// A numpy array in the file.
pub(super) struct NdArray<'a> {
    pub(super) dims: Vec<usize>,
    /// Numpy's name of the type without its byte order, e.g. `u1`.
    pub(super) kind: String,
    big_endian: bool,
    /// Whether the first dimension is the fastest.
    pub(super) fortran: bool,
    pub(super) data: Cow<'a, [u8]>,
}

impl NdArray<'_> {
    /// The elements of an array of integers; `None` for other types.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let size = integer_size(&self.kind)?;
        let number = |bytes: &[u8]| integer(bytes, self.kind.starts_with('i'), self.big_endian);
        Some(self.data.chunks_exact(size).map(number).collect())
    }
}

/// The number of bytes of an integer (or Boolean) type.
fn integer_size(kind: &str) -> Option<usize> {
    match kind {
        "b1" | "i1" | "u1" => Some(1),
        "i2" | "u2" => Some(2),
        "i4" | "u4" => Some(4),
        "i8" | "u8" => Some(8),
        _ => None,
    }
}

/// An integer of at most 8 bytes.
fn integer(bytes: &[u8], signed: bool, big_endian: bool) -> i64 {
    let first = if big_endian { bytes.first() } else { bytes.last() };
    let start = if signed && first.is_some_and(|byte| byte >> 7 == 1) { -1 } else { 0 };
    let add = |value: i64, &byte: &u8| value << 8 | i64::from(byte);
    if big_endian { bytes.iter().fold(start, add) } else { bytes.iter().rev().fold(start, add) }
}

/// A parsed file.
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (values, root) = machine::run(bytes)?;
        Ok(Self { bytes, values, root })
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// Text or bytes. Python 3 may write bytes as a call that makes them of text (protocols 0 to 2), which is read as
    /// well.
    pub(super) fn bytes(&self, id: Id) -> Option<Cow<'a, [u8]>> {
        match &self.values[id] {
            Value::Bytes(range, form) => {
                let bytes = &self.bytes[range.clone()];
                Some(match form {
                    Form::Plain => Cow::Borrowed(bytes),
                    Form::Quoted | Form::Escaped => unescaped(bytes, *form),
                })
            }
            Value::Object { callable, arguments, .. } => {
                let Value::Global(name) = &self.values[*callable] else { return None };
                match (name.as_str(), self.items(*arguments)?) {
                    ("_codecs encode", [text, ..]) => {
                        let Value::Bytes(range, form) = &self.values[*text] else { return None };
                        // Text that is not UTF-8 here is Latin-1 already.
                        match (form, std::str::from_utf8(&self.bytes[range.clone()])) {
                            (Form::Plain, Ok(text)) => {
                                let byte = |c: char| u8::try_from(u32::from(c)).ok();
                                text.chars().map(byte).collect::<Option<Vec<u8>>>().map(Cow::Owned)
                            }
                            _ => self.bytes(*text),
                        }
                    }
                    ("__builtin__ bytes" | "builtins bytes", []) => Some(Cow::Borrowed(&[])),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Number of bytes of the file that a text, or bytes made of a text, take.
    fn length(&self, id: Id) -> usize {
        match &self.values[id] {
            Value::Bytes(range, _) => range.len(),
            Value::Object { arguments, .. } => match self.items(*arguments) {
                Some([text, ..]) if matches!(self.values[*text], Value::Bytes(..)) => self.length(*text),
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Whether a value equals a short text or a few bytes. Long values are not decoded, because there may be a thousand
    /// references to them.
    fn is(&self, id: Id, expected: &[u8]) -> bool {
        self.length(id) <= 8 * expected.len() + 8 && self.bytes(id).is_some_and(|bytes| *bytes == *expected)
    }

    /// The value of a key in a dictionary.
    pub(super) fn get(&self, dict: Id, key: &str) -> Option<Id> {
        match &self.values[dict] {
            Value::Dict(entries) => {
                entries.iter().rev().find(|(k, _)| self.is(*k, key.as_bytes())).map(|entry| entry.1)
            }
            _ => None,
        }
    }

    /// The first keys of a dictionary as text, for errors.
    pub(super) fn keys(&self, dict: Id) -> String {
        let Value::Dict(entries) = &self.values[dict] else { return "no dictionary".into() };
        let text = |id: Id| match self.length(id) {
            0..=40 => {
                self.bytes(id).map(|bytes| String::from_utf8_lossy(&bytes).escape_default().to_string())
            }
            _ => None,
        };
        let keys: Vec<String> = entries.iter().take(8).map(|(k, _)| text(*k).unwrap_or("?".into())).collect();
        format!("a dictionary with the keys {}", keys.join(", "))
    }

    /// The items of a list or tuple.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match &self.values[id] {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a Python or numpy integer.
    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.values[id] {
            Value::Int(value) => Some(value),
            Value::Object { callable, arguments, .. } => {
                let Value::Global(name) = &self.values[callable] else { return None };
                let [dtype, data] = *self.items(arguments)? else { return None };
                if !matches!(name.as_str(), "numpy.core.multiarray scalar" | "numpy._core.multiarray scalar")
                {
                    return None;
                }
                let (kind, big_endian) = self.dtype(dtype)?;
                let size = integer_size(&kind)?;
                let bytes = if self.length(data) <= 64 { self.bytes(data)? } else { return None };
                (bytes.len() == size).then(|| integer(&bytes, kind.starts_with('i'), big_endian))
            }
            _ => None,
        }
    }

    /// The items of a list, tuple or one-dimensional numpy array of integers; `None` for each item that is none.
    pub(super) fn integers(&self, id: Id) -> Option<Vec<Option<i64>>> {
        if let Some(items) = self.items(id) {
            return Some(items.iter().map(|&item| self.int(item)).collect());
        }
        let array = self.array(id)?;
        let flat = matches!(array.dims[..], [_] | [_, 1] | [1, _]);
        let numbers = array.integers().filter(|_| flat)?;
        Some(numbers.into_iter().map(Some).collect())
    }

    /// Number of items that [`integers`](Self::integers) returns.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.items(id) {
            Some(items) => Some(items.len()),
            None => self.array(id)?.dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)),
        }
    }

    /// Name of a numpy type without its byte order, and whether that is big-endian.
    fn dtype(&self, id: Id) -> Option<(String, bool)> {
        let Value::Object { callable, arguments, state } = self.values[id] else { return None };
        let kind = *self.items(arguments)?.first()?;
        if !matches!(&self.values[callable], Value::Global(name) if name == "numpy dtype")
            || self.length(kind) > 64
        {
            return None;
        }
        let order = state.and_then(|state| self.items(state)?.get(1).copied());
        let big_endian = order.is_some_and(|order| self.is(order, b">"));
        Some((String::from_utf8_lossy(&self.bytes(kind)?).into_owned(), big_endian))
    }

    /// The numpy array of a value, if it is one.
    pub(super) fn array(&self, id: Id) -> Option<NdArray<'a>> {
        let Value::Object { callable, arguments, state } = self.values[id] else { return None };
        let Value::Global(name) = &self.values[callable] else { return None };
        let (shape, dtype, data, fortran) = match name.rsplit(' ').next() {
            // Up to protocol 4 an array is an empty array, followed by its state.
            Some("_reconstruct") => {
                let [_version, shape, dtype, fortran, data] = *self.items(state?)? else { return None };
                (shape, dtype, data, self.int(fortran)? != 0)
            }
            Some("_frombuffer") => {
                let [data, dtype, shape, order] = *self.items(arguments)? else { return None };
                (shape, dtype, data, !self.is(order, b"C"))
            }
            _ => return None,
        };
        let (kind, big_endian) = self.dtype(dtype)?;
        let dims: Option<Vec<usize>> =
            self.items(shape)?.iter().map(|&dim| usize::try_from(self.int(dim)?).ok()).collect();
        Some(NdArray { dims: dims?, kind, big_endian, fortran, data: self.bytes(data)? })
    }
}

/// Decodes the escapes of text of protocol 0; an unknown escape stays as it is.
fn unescaped(bytes: &[u8], form: Form) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\\') {
        return Cow::Borrowed(bytes);
    }
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    while let Some((&byte, after)) = rest.split_first() {
        let known = match (byte, after) {
            (b'\\', [b'x', a, b, ..]) if form == Form::Quoted => hex(&[*a, *b]).map(|code| (code as u8, 4)),
            (b'\\', [b'u', digits @ ..]) if form == Form::Escaped && digits.len() >= 4 => {
                hex(&digits[..4]).and_then(|code| u8::try_from(code).ok()).map(|code| (code, 6))
            }
            (b'\\', [escape, ..]) if form == Form::Quoted => match escape {
                b'n' => Some((b'\n', 2)),
                b'r' => Some((b'\r', 2)),
                b't' => Some((b'\t', 2)),
                b'\\' | b'\'' | b'"' => Some((*escape, 2)),
                _ => None,
            },
            _ => None,
        };
        let (byte, length) = known.unwrap_or((byte, 1));
        out.push(byte);
        rest = &rest[length..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn fixture(protocol: usize) -> Vec<u8> {
        let gzipped: &[u8] = match protocol {
            3 => include_bytes!("../../tests/fixtures/cifar_protocol3.pickle.gz"),
            4 => include_bytes!("../../tests/fixtures/cifar_protocol4.pickle.gz"),
            _ => include_bytes!("../../tests/fixtures/cifar_protocol5.pickle.gz"),
        };
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_python_3_writes_is_read() {
        for protocol in [3, 4, 5] {
            let bytes = fixture(protocol);
            let pickle = Pickle::parse(&bytes).unwrap();
            let labels = pickle.items(pickle.get(pickle.root(), "labels").unwrap()).unwrap();
            assert_eq!(labels.iter().map(|&id| pickle.int(id)).collect::<Vec<_>>(), [Some(6), Some(9)]);
            let array = pickle.array(pickle.get(pickle.root(), "data").unwrap()).unwrap();
            assert_eq!(
                (array.dims, array.data[0], array.data[3072]),
                (vec![2, 3072], 7, 200),
                "protocol {protocol}"
            );
        }
    }

    #[test]
    fn integers_of_every_kind() {
        for (code, expected) in [
            (&b"I-7\n."[..], -7),
            (b"L12345678901L\n.", 12_345_678_901),
            (b"J\xfe\xff\xff\xff.", -2),
            (b"K\xff.", 255),
            (b"M\x00\x01.", 256),
            (b"\x8a\x02\x00\xff.", -256),
            (b"\x8a\x00.", 0),
            (b"I01\n.", 1),
        ] {
            let pickle = Pickle::parse(code).unwrap();
            assert_eq!(pickle.int(pickle.root()), Some(expected), "{code:?}");
        }
    }

    #[test]
    fn calls_are_kept_as_names_and_other_operations_refused() {
        // A call of os.system("echo") is read as a name and an argument, and never run.
        let pickle = Pickle::parse(b"cos\nsystem\n(S'echo'\ntR.").unwrap();
        let Value::Object { callable, .. } = &pickle.values[pickle.root()] else { panic!("not an object") };
        assert!(matches!(&pickle.values[*callable], Value::Global(name) if name == "os system"));
        for code in [&b"\x82\x01."[..], b"i.", b"P1\n.", b"."] {
            assert!(Pickle::parse(code).is_err(), "{code:?}");
        }
    }

    #[test]
    fn declared_lengths_are_not_believed() {
        for code in
            [&b"T\xff\xff\xff\x7f."[..], b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", b"X\xff\xff\xff\xff"]
        {
            assert!(
                Pickle::parse(code).is_err_and(|error| error.reason.contains("are declared")),
                "{code:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::parse(&bytes);
        }

        #[test]
        fn damaged_files_never_panic(
            protocol in 3usize..6, damage in proptest::collection::vec((0usize..300, any::<u8>()), 1..6), cut in 0usize..7000,
        ) {
            let mut bytes = fixture(protocol);
            // The structure is at both ends; the middle is pixels.
            let length = bytes.len();
            for (at, byte) in damage {
                let at = if at < 200 { at } else { length - 300 + at };
                bytes[at] = byte;
            }
            bytes.truncate(cut.max(1));
            if let Ok(pickle) = Pickle::parse(&bytes) {
                prop_assert!(pickle.values.len() <= bytes.len(), "a value costs at least a byte");
                for id in 0..pickle.values.len() {
                    let _ = (pickle.array(id), pickle.get(id, "data"));
                }
            }
        }
    }
}
