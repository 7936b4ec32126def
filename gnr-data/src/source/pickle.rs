//! CIFAR's "python version": a dictionary of texts, integers, lists and numpy's arrays, read from a pickle.
//!
//! Protocols 0 to 5 (Python 2's cPickle wrote the published files with protocol 2). A call is a name with arguments:
//! [`Batch::array`] knows those that make numpy's arrays.

use std::borrow::Cow;

use gnr_pickle::{Budget, Id, Malformed, Object, Pickle, Problem, View, parse};

use super::fault::{self, Fault};
use super::kind::what_is;

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
pub(super) struct Batch<'a> {
    pickle: Pickle<'a>,
}

impl<'a> Batch<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, fault::Malformed> {
        match parse(bytes, &mut Budget::of(bytes.len() as u64)) {
            Ok(pickle) => Ok(Self { pickle }),
            Err(malformed) => Err(told(bytes, malformed)),
        }
    }

    pub(super) fn root(&self) -> Id {
        self.pickle.root()
    }

    /// A call of one of these functions, by module and name.
    fn call(&self, id: Id, functions: &[(&str, &str)]) -> Option<&Object> {
        let View::Object(object) = self.pickle.view(id) else { return None };
        let View::Global(function) = self.pickle.view(object.callable) else { return None };
        functions.iter().any(|(module, name)| function.of(module) == Some(name)).then_some(object)
    }

    /// The bytes of a value that is bytes or text. In protocols 0 to 2, Python 3 writes bytes as a call that makes them
    /// of a text. Such calls are read as well.
    pub(super) fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        match self.pickle.view(id) {
            View::Text(text) => Some(text.bytes()),
            View::Bytes(bytes) => Some(bytes.into()),
            _ => match self.encoded(id)? {
                [] => Some((&[]).into()),
                [text, ..] => self.pickle.text(*text)?.latin1(),
            },
        }
    }

    /// The arguments of a call that makes bytes: a text and its encoding, or none for no bytes.
    fn encoded(&self, id: Id) -> Option<&[Id]> {
        let of = |functions| self.call(id, functions).and_then(|call| self.items(call.arguments));
        let none = || of(&[("__builtin__", "bytes"), ("builtins", "bytes")]).filter(|found| found.is_empty());
        of(&[("_codecs", "encode")]).filter(|found| !found.is_empty()).or_else(none)
    }

    /// Number of bytes of the file that a text, bytes, or bytes made of a text take.
    fn length(&self, id: Id) -> usize {
        match (self.pickle.view(id), self.encoded(id)) {
            (View::Text(text), _) => text.len(),
            (View::Bytes(bytes), _) => bytes.len(),
            (_, Some([text, ..])) => self.pickle.text(*text).map_or(0, |text| text.len()),
            _ => 0,
        }
    }

    /// Whether a value equals a short text or a few bytes. Long values are not decoded, because there may be a thousand
    /// references to them.
    fn is(&self, id: Id, expected: &[u8]) -> bool {
        self.length(id) <= 8 * expected.len() + 8 && self.bytes(id).is_some_and(|bytes| *bytes == *expected)
    }

    /// Keys and values of a dictionary, an ordered one included.
    fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.pickle.view(id) {
            View::Pairs(pairs) => Some(pairs),
            _ => {
                let ordered = self.call(id, &[("collections", "OrderedDict")])?;
                // Python 2 gives the pairs as an argument.
                let bare = self.items(ordered.arguments).is_some_and(<[Id]>::is_empty);
                bare.then(|| ordered.pairs())
            }
        }
    }

    /// The value of a key in a dictionary.
    pub(super) fn get(&self, dict: Id, key: &str) -> Option<Id> {
        self.pairs(dict)?.iter().rev().find(|(k, _)| self.is(*k, key.as_bytes())).map(|entry| entry.1)
    }

    /// The first keys of a dictionary as text, for errors.
    pub(super) fn keys(&self, dict: Id) -> String {
        let Some(pairs) = self.pairs(dict) else { return "no dictionary".into() };
        let text = |id: Id| match self.length(id) {
            0..=40 => {
                self.bytes(id).map(|bytes| String::from_utf8_lossy(&bytes).escape_default().to_string())
            }
            _ => None,
        };
        let keys: Vec<String> = pairs.iter().take(8).map(|(k, _)| text(*k).unwrap_or("?".into())).collect();
        format!("a dictionary with the keys {}", keys.join(", "))
    }

    /// The items of a list or tuple.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        self.pickle.items(id)
    }

    /// The value of a Python or numpy integer.
    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.pickle.view(id) {
            View::Int(value) => Some(value),
            View::Bool(value) => Some(value.into()),
            _ => {
                let scalar = [("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")];
                let [dtype, data] = *self.items(self.call(id, &scalar)?.arguments)? else { return None };
                let (kind, big_endian) = self.dtype(dtype)?;
                let size = integer_size(&kind)?;
                let bytes = if self.length(data) <= 64 { self.bytes(data)? } else { return None };
                (bytes.len() == size).then(|| integer(&bytes, kind.starts_with('i'), big_endian))
            }
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
        let call = self.call(id, &[("numpy", "dtype")])?;
        let kind = *self.items(call.arguments)?.first()?;
        if self.length(kind) > 64 {
            return None;
        }
        let order = call.state.and_then(|state| self.items(state)?.get(1).copied());
        let big_endian = order.is_some_and(|order| self.is(order, b">"));
        Some((String::from_utf8_lossy(&self.bytes(kind)?).into_owned(), big_endian))
    }

    /// The numpy array of a value, if it is one.
    pub(super) fn array(&self, id: Id) -> Option<NdArray<'_>> {
        let View::Object(call) = self.pickle.view(id) else { return None };
        let View::Global(function) = self.pickle.view(call.callable) else { return None };
        let (shape, dtype, data, fortran) = match function.name() {
            // Up to protocol 4 an array is an empty array, followed by its state.
            Some("_reconstruct") => {
                let [_version, shape, dtype, fortran, data] = *self.items(call.state?)? else { return None };
                (shape, dtype, data, self.int(fortran)? != 0)
            }
            Some("_frombuffer") => {
                let [data, dtype, shape, order] = *self.items(call.arguments)? else { return None };
                (shape, dtype, data, !self.is(order, b"C"))
            }
            _ => return None,
        };
        let (kind, big_endian) = self.dtype(dtype)?;
        // Numpy's arrays have at most 64 dimensions; a longer shape may be as long as the file.
        let shape = self.items(shape).filter(|shape| shape.len() <= 64)?;
        let dims: Option<Vec<usize>> =
            shape.iter().map(|&dim| usize::try_from(self.int(dim)?).ok()).collect();
        Some(NdArray { dims: dims?, kind, big_endian, fortran, data: self.bytes(data)? })
    }
}

/// The fault of a file: damage, or contents other than a pickle of images.
fn told(bytes: &[u8], Malformed { offset, problem }: Malformed) -> fault::Malformed {
    let (reason, fault) = match problem {
        // A dictionary's pickle begins with its protocol, or before protocol 2 with a mark, a dictionary or a class.
        _ if !matches!(bytes.first(), Some(0x80 | b'(' | b'}' | b'c')) => {
            (format!("not a pickle but {}", what_is(bytes)), Fault::Unknown)
        }
        Problem::Ended => ("the file ends before its pickle does".into(), Fault::Damaged),
        Problem::TooLarge => ("more objects than the size of the file justifies".into(), Fault::Unknown),
        Problem::Invalid(reason) => (reason, Fault::Damaged),
        Problem::Unknown(reason) => (reason, Fault::Unknown),
    };
    fault::Malformed { offset, reason, fault }
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
            let pickle = Batch::parse(&bytes).unwrap();
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
            let pickle = Batch::parse(code).unwrap();
            assert_eq!(pickle.int(pickle.root()), Some(expected), "{code:?}");
        }
    }

    #[test]
    fn other_files_are_told_from_damaged_ones() {
        for (bytes, expected) in [
            (&b""[..], "not a pickle but an empty file"),
            (b"\x89PNG\r\n\x1a\n", "not a pickle but a PNG image"),
            (b"PK\x03\x04", "not a pickle but a ZIP archive"),
            (b"\x80\x02}q\0(U\xff", "the file ends before its pickle does"),
            (b"\x80\x02e.", "an operation finds no mark"),
        ] {
            let malformed = Batch::parse(bytes).map(|_| ()).unwrap_err();
            assert!(malformed.reason.contains(expected), "{bytes:?}: {}", malformed.reason);
            assert_eq!(malformed.fault == Fault::Damaged, !expected.starts_with("not a pickle"), "{bytes:?}");
        }
        // What begins as a pickle does, and what needs another file.
        for (bytes, expected) in [
            (&b"cifar 10\nis a data set\n "[..], "0x20 is no operation of a pickle"),
            (b"\x80\x05\x97.", "a buffer that is kept outside the file"),
        ] {
            let malformed = Batch::parse(bytes).map(|_| ()).unwrap_err();
            assert!(malformed.reason.contains(expected), "{bytes:?}: {}", malformed.reason);
            assert_eq!(malformed.fault, Fault::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn ordered_dictionaries_and_shapes() {
        let found = |bytes: &[u8]| {
            let batch = Batch::parse(bytes).unwrap();
            (batch.keys(batch.root()), batch.get(batch.root(), "a").and_then(|id| batch.int(id)))
        };
        let (keys, value) = found(b"ccollections\nOrderedDict\n)R(U\x01aK\x07u.");
        assert!(keys.ends_with("keys a") && value == Some(7), "{keys} {value:?}");
        assert_eq!(
            found(b"ccollections\nOrderedDict\n(](](U\x01aK\x07eetR."),
            ("no dictionary".into(), None)
        );
        let array = |dims: usize| {
            let (start, end) = (
                b"cnumpy.core.numeric\n_frombuffer\n(C\x01xcnumpy\ndtype\n(X\x02\0\0\0u1tR(",
                b"tX\x01\0\0\0CtR.",
            );
            let bytes = [&start[..], &b"K\x01".repeat(dims), end].concat();
            let batch = Batch::parse(&bytes).unwrap();
            batch.array(batch.root()).map(|array| array.dims.len())
        };
        assert_eq!((array(2), array(64), array(65)), (Some(2), Some(64), None));
    }

    #[test]
    fn declared_lengths_are_not_believed() {
        for code in
            [&b"(T\xff\xff\xff\x7f."[..], b"(\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", b"(X\xff\xff\xff\xff"]
        {
            assert!(Batch::parse(code).is_err_and(|error| error.reason.contains("ends before")), "{code:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Batch::parse(&bytes);
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
            if let Ok(pickle) = Batch::parse(&bytes) {
                let found = |key| pickle.get(pickle.root(), key);
                for id in ["data", "labels"].into_iter().filter_map(found).chain([pickle.root()]) {
                    let _ = (pickle.array(id), pickle.integers(id), pickle.get(id, "data"));
                }
            }
        }
    }
}
