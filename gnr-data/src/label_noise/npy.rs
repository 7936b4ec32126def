//! One-dimensional integer arrays in NumPy's `.npy` format, versions 1 to 3.
//!
//! Layout: NumPy, *NEP 1: A Simple File Format for NumPy Arrays*, and `numpy.lib.format`. A file has the magic string,
//! two bytes of version, the length of the header (2 or 4 bytes, little endian), the header (a Python dictionary as
//! text), and the numbers. The crate for this format, `npyz`, would add a parser generator and a C compiler to read
//! that dictionary.

use std::path::Path;

use crate::error::{DataError, Result};
use crate::source::kind::what_is;
use crate::source::text::excerpt;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The numbers of a file with the contents `bytes`.
pub(super) fn integers<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<impl ExactSizeIterator<Item = i128> + use<'a>> {
    let Some(after_magic) = bytes.strip_prefix(MAGIC) else {
        return Err(DataError::WrongMagic {
            path: path.to_path_buf(),
            expected: format!("{MAGIC:02x?} (a NumPy array)"),
            found: format!("{:02x?}, {}", &bytes[..bytes.len().min(MAGIC.len())], what_is(bytes)),
        });
    };
    let truncated = |what: &str, expected: usize| DataError::Truncated {
        path: path.to_path_buf(),
        what: what.to_owned(),
        expected: expected as u64,
        found: bytes.len() as u64,
    };
    let malformed = |offset: usize, reason: String| DataError::Malformed {
        path: path.to_path_buf(),
        format: "NumPy array",
        offset: offset as u64,
        reason,
    };
    let unknown =
        |reason: String| DataError::UnknownLayout { path: path.to_path_buf(), format: "NumPy array", reason };
    // Start of the header and its length.
    let (start, length): (usize, usize) = match *after_magic {
        [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        [1..=3, ..] | [] => return Err(truncated("the header's length", 12)),
        [version, ..] => {
            let reason = format!("version {version} of NumPy's format is not known, expected 1, 2 or 3");
            return Err(DataError::Unsupported { path: path.to_path_buf(), reason });
        }
    };
    let data = start.saturating_add(length);
    let header = bytes.get(start..data).ok_or_else(|| truncated("the header", data))?;
    let Header { descr, shape } = header_of(header).map_err(|(at, reason)| malformed(start + at, reason))?;
    let number = Number::of(&descr).map_err(unknown)?;
    let [count] = shape[..] else {
        let reason = format!("expected one dimension (a label for each image), found shape {shape:?}");
        return Err(unknown(reason));
    };
    let end = count.checked_mul(number.size).and_then(|length| length.checked_add(data));
    let end = end.ok_or_else(|| malformed(start, format!("impossible shape {shape:?}")))?;
    let numbers = bytes.get(data..end).ok_or_else(|| truncated(&format!("{count} labels"), end))?;
    if bytes.len() > end {
        return Err(DataError::TrailingBytes { path: path.to_path_buf(), offset: end as u64 });
    }
    Ok(numbers.chunks_exact(number.size).map(move |bytes| number.read(bytes)))
}

/// The form of a number in the file.
struct Number {
    size: usize,
    signed: bool,
    big_endian: bool,
}

impl Number {
    /// Reads NumPy's name of a type, such as `<i8`; the error says why it is refused.
    fn of(descr: &str) -> Result<Self, String> {
        let mut characters = descr.chars();
        let (order, kind, size) = (characters.next(), characters.next(), characters.as_str());
        let sizes = [("1", 1), ("2", 2), ("4", 4), ("8", 8)];
        let size = sizes.iter().find(|(name, _)| *name == size).map(|(_, size)| *size);
        match (order, kind, size) {
            (_, Some('O'), _) => Err(format!(
                "`{descr}` is an array of Python objects, which is refused because reading it runs code of the file; \
                 expected integers: save the labels alone, `numpy.save(\"labels.npy\", labels)`"
            )),
            (Some(order @ ('<' | '>' | '|')), Some(kind @ ('i' | 'u')), Some(size))
                if order != '|' || size == 1 =>
            {
                Ok(Self { size, signed: kind == 'i', big_endian: order == '>' })
            }
            _ => Err(format!("expected integers (such as `<i8`), found `{descr}`")),
        }
    }

    fn read(&self, bytes: &[u8]) -> i128 {
        let most_significant_last: Vec<u8> =
            if self.big_endian { bytes.iter().rev().copied().collect() } else { bytes.to_vec() };
        let negative = self.signed && most_significant_last.last().is_some_and(|byte| byte >> 7 == 1);
        let magnitude = most_significant_last.iter().rev().fold(0, |sum, &byte| sum << 8 | i128::from(byte));
        if negative { magnitude - (1 << (8 * self.size)) } else { magnitude }
    }
}

struct Header {
    descr: String,
    shape: Vec<usize>,
}

type Problem = (usize, String);

/// Reads the dictionary `{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }`, whose keys come in any order. In
/// one dimension both orders are equal, so `fortran_order` is ignored.
fn header_of(header: &[u8]) -> Result<Header, Problem> {
    let text = str::from_utf8(header).map_err(|error| (error.valid_up_to(), "not text".to_owned()))?;
    let mut cursor = Cursor { text, at: 0 };
    let (mut descr, mut order, mut shape) = (None, None, None);
    cursor.expect("{")?;
    while !cursor.skips("}") {
        let (at, key) = (cursor.at, cursor.string()?);
        cursor.expect(":")?;
        let twice = match key {
            "descr" => descr.replace(cursor.descr()?).is_some(),
            "fortran_order" => order.replace(cursor.boolean()?).is_some(),
            "shape" => shape.replace(cursor.tuple()?).is_some(),
            _ => {
                return Err((
                    at,
                    format!("unknown key '{}', expected descr, fortran_order and shape", excerpt(key)),
                ));
            }
        };
        if twice {
            return Err((at, format!("the key '{key}' comes twice")));
        }
        if !cursor.skips(",") {
            cursor.expect("}")?;
            break;
        }
    }
    match (descr, order, shape, cursor.rest()) {
        (Some(descr), Some(_), Some(shape), "") => Ok(Header { descr, shape }),
        (_, _, _, "") => Err((0, "expected the keys descr, fortran_order and shape".to_owned())),
        _ => Err((cursor.at, "expected the end of the header".to_owned())),
    }
}

/// A position in the header.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The rest of the header, after white space.
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    /// Skips `token` if it is next, and returns whether it was.
    fn skips(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), Problem> {
        if self.skips(token) { Ok(()) } else { Err(self.problem(&format!("`{token}`"))) }
    }

    fn problem(&mut self, expected: &str) -> Problem {
        let found: String = self.rest().trim_end().chars().take(20).collect();
        (self.at, format!("expected {expected}, found `{found}`"))
    }

    /// Reads a quoted string without escapes, which NumPy's names of types and keys do not need.
    fn string(&mut self) -> Result<&'a str, Problem> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
        let inside = quote.and_then(|quote| rest[1..].split_once(quote)).map(|(inside, _)| inside);
        match inside {
            Some(inside) if !inside.contains('\\') => {
                self.at += inside.len() + 2;
                Ok(inside)
            }
            _ => Err(self.problem("a quoted string")),
        }
    }

    fn descr(&mut self) -> Result<String, Problem> {
        if self.rest().starts_with('[') {
            return Err(self.problem("the name of an integer type (this is an array of records)"));
        }
        self.string().map(str::to_owned)
    }

    fn boolean(&mut self) -> Result<bool, Problem> {
        if self.skips("True") {
            Ok(true)
        } else if self.skips("False") {
            Ok(false)
        } else {
            Err(self.problem("True or False"))
        }
    }

    /// Reads a tuple of whole numbers: `()`, `(3,)`, `(3, 4)`.
    fn tuple(&mut self) -> Result<Vec<usize>, Problem> {
        self.expect("(")?;
        let mut dims = Vec::new();
        while !self.skips(")") {
            let rest = self.rest();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let dim = rest[..digits].parse().map_err(|_| self.problem("a length"))?;
            dims.push(dim);
            self.at += digits;
            if !self.skips(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(dims)
    }
}
