//! MATLAB's level 5 MAT-files, as far as annotations need them: cells, structures, texts and real numbers, compressed
//! or not.
//!
//! Layout: MathWorks, *MAT-File Format*, "Level 5 MAT-File Format". A header of 128 bytes is followed by elements with
//! an 8-byte tag (type, length) and data padded to 8 bytes; up to 4 bytes of data fit into the tag. The crates for this
//! format read no structures, of which the annotations consist.
//!
//! Memory is in proportion to the (decompressed) file: an element must lie within the one that holds it, and a
//! compressed one must not exceed [`MAX_INFLATED`].

use std::io::Read;

use super::fault::{Fault, Malformed};
use super::kind::what_is;

type Result<T> = std::result::Result<T, Malformed>;

/// A variable, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Cell(Vec<Value>),
    /// The elements of a structure array, each with the values of `fields`.
    Struct {
        fields: Vec<String>,
        elements: Vec<Vec<Value>>,
    },
    Text(String),
    Numbers(Vec<f64>),
    /// Complex numbers, sparse matrices, objects, functions and long arrays, which annotations never are.
    Other,
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a single whole number, 0 or larger.
    pub(super) fn index(&self) -> Option<usize> {
        match self {
            Self::Numbers(numbers) => match numbers[..] {
                [number] if number >= 0.0 && number.fract() == 0.0 && number < 1e15 => Some(number as usize),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Largest size of a decompressed element. The largest published file of annotations decompresses to a few MiB.
const MAX_INFLATED: u64 = 256 << 20;
/// Largest depth of nesting.
const MAX_DEPTH: usize = 16;

/// Number of parts that may be empty tags.
const MANY_EMPTY: usize = 64;
/// Longest array of numbers that is kept. Annotations are single numbers, and bytes take eight times as much memory as
/// numbers.
const MAX_NUMBERS: usize = 1024;

const HEADER: usize = 128;
const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;

/// Reads the variables of a file, in order, with their names.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let fail = |offset, reason: &str| Err(Malformed { offset, reason: reason.into(), fault: Fault::Damaged });
    let other = |reason: &str, fault| Err(Malformed { offset: 124, reason: reason.into(), fault });
    match bytes.get(124..HEADER) {
        Some([0x00, 0x01, b'I', b'M']) => {}
        Some([0x01, 0x00, b'M', b'I']) => {
            return other("a big-endian MAT-file; save it again with -v7", Fault::Unsupported);
        }
        Some([_, 0x02, b'I', b'M']) => {
            return other("a version 7.3 (HDF5) MAT-file; save it with -v7", Fault::Unsupported);
        }
        None if bytes.starts_with(b"MATLAB") => {
            return fail(bytes.len(), "the header of 128 bytes is incomplete");
        }
        _ => {
            let reason = format!("not a level 5 MAT-file but {}", what_is(bytes));
            return other(&reason, Fault::Unknown);
        }
    }
    let mut variables = Vec::new();
    let mut reader = Reader { bytes, at: HEADER };
    while reader.at < bytes.len() {
        let (kind, data) = reader.element()?;
        match kind {
            MATRIX => variables.push(Reader::new(data).matrix(MAX_DEPTH)?),
            COMPRESSED => {
                let mut inflated = Vec::new();
                let mut decoder = flate2::read::ZlibDecoder::new(data).take(MAX_INFLATED + 1);
                if let Err(error) = decoder.read_to_end(&mut inflated) {
                    return fail(reader.at - data.len(), &format!("damaged compression: {error}"));
                }
                if inflated.len() as u64 > MAX_INFLATED {
                    return other("an element decompresses to more than 256 MiB", Fault::Unsupported);
                }
                match Reader::new(&inflated).element()? {
                    (MATRIX, data) => variables.push(Reader::new(data).matrix(MAX_DEPTH)?),
                    (other, _) => {
                        return fail(0, &format!("compressed element of type {other}, expected a matrix"));
                    }
                }
            }
            other => return fail(reader.at, &format!("element of type {other}, expected a matrix")),
        }
    }
    Ok(variables)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Malformed { offset: self.at, reason: reason.into(), fault: Fault::Damaged })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.at.checked_add(count).filter(|&end| end <= self.bytes.len()) {
            Some(end) => Ok(&self.bytes[std::mem::replace(&mut self.at, end)..end]),
            None => self.fail(format!("{count} bytes are declared, {} are left", self.bytes.len() - self.at)),
        }
    }

    fn word(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads the type and the data of the next element.
    fn element(&mut self) -> Result<(u32, &'a [u8])> {
        let first = self.word()?;
        if first >> 16 != 0 {
            let length = (first >> 16) as usize;
            if length > 4 {
                return self.fail(format!("a small element of {length} bytes"));
            }
            return Ok((first & 0xffff, &self.take(4)?[..length]));
        }
        let length = self.word()? as usize;
        let data = self.take(length)?;
        if first != COMPRESSED {
            // The last element may lack its padding.
            self.at = self.at.next_multiple_of(8).min(self.bytes.len());
        }
        Ok((first, data))
    }

    /// Reads signed 32-bit numbers.
    fn integers(&mut self) -> Result<Vec<i32>> {
        match self.element()? {
            (5 | 6, data) => {
                Ok(data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
            }
            (other, _) => self.fail(format!("element of type {other}, expected 32-bit integers")),
        }
    }

    /// Reads the name and the value of a matrix, whose data this reader holds.
    fn matrix(&mut self, depth: usize) -> Result<(String, Value)> {
        if self.bytes.is_empty() {
            return Ok((String::new(), Value::Numbers(Vec::new())));
        }
        if depth == 0 {
            return self.fail(format!("nested more than {MAX_DEPTH} deep"));
        }
        let flags = self.integers()?;
        let Some(&flags) = flags.first() else { return self.fail("no array flags") };
        let dims = self.integers()?;
        let count =
            dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?));
        let Some(count) = count else {
            let (some, more) = (&dims[..dims.len().min(8)], if dims.len() > 8 { " and more" } else { "" });
            return self.fail(format!("impossible dimensions {some:?}{more}"));
        };
        let (_, name) = self.element()?;
        let name = String::from_utf8_lossy(name).into_owned();
        const COMPLEX: i32 = 0x0800;
        let value = match flags & 0xff {
            1 => Value::Cell(self.matrices(count, depth)?),
            2 => self.structure(count, depth)?,
            4 => Value::Text(self.characters()?),
            6..=15 if flags & COMPLEX == 0 && count <= MAX_NUMBERS => Value::Numbers(self.numbers(count)?),
            _ => Value::Other,
        };
        Ok((name, value))
    }

    fn matrices(&mut self, count: usize, depth: usize) -> Result<Vec<Value>> {
        // A part with a value takes 48 bytes at least; a few may be empty tags.
        if count > MANY_EMPTY + (self.bytes.len() - self.at) / 32 {
            return self.fail(format!(
                "{count} parts are declared, they cannot be in {} bytes",
                self.bytes.len() - self.at
            ));
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            match self.element()? {
                (MATRIX, data) => values.push(Reader::new(data).matrix(depth - 1)?.1),
                (other, _) => return self.fail(format!("element of type {other}, expected a matrix")),
            }
        }
        Ok(values)
    }

    fn structure(&mut self, count: usize, depth: usize) -> Result<Value> {
        let length = self.integers()?.first().copied().and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|&length| length > 0) else {
            return self.fail("no length of field names");
        };
        let (_, names) = self.element()?;
        let name = |bytes: &[u8]| {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        let fields: Vec<String> = names.chunks_exact(length).map(name).collect();
        if fields.is_empty() {
            return Ok(Value::Struct { fields, elements: Vec::new() });
        }
        let Some(values) = count.checked_mul(fields.len()) else { return self.fail("too many elements") };
        let mut values = self.matrices(values, depth)?.into_iter();
        let elements = (0..count).map(|_| values.by_ref().take(fields.len()).collect()).collect();
        Ok(Value::Struct { fields, elements })
    }

    fn characters(&mut self) -> Result<String> {
        match self.element()? {
            (1 | 2 | 16, data) => Ok(String::from_utf8_lossy(data).into_owned()),
            (4 | 17, data) => {
                let units: Vec<u16> =
                    data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
                Ok(String::from_utf16_lossy(&units))
            }
            (other, _) => self.fail(format!("element of type {other}, expected characters")),
        }
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<f64>> {
        macro_rules! read {
            ($type:ty, $data:expr) => {
                $data
                    .chunks_exact(size_of::<$type>())
                    .map(|bytes| {
                        let mut array = [0; size_of::<$type>()];
                        array.copy_from_slice(bytes);
                        <$type>::from_le_bytes(array) as f64
                    })
                    .collect::<Vec<f64>>()
            };
        }
        let (kind, data) = self.element()?;
        let numbers = match kind {
            1 => read!(i8, data),
            2 => read!(u8, data),
            3 => read!(i16, data),
            4 => read!(u16, data),
            5 => read!(i32, data),
            6 => read!(u32, data),
            7 => read!(f32, data),
            9 => read!(f64, data),
            12 => read!(i64, data),
            13 => read!(u64, data),
            other => return self.fail(format!("element of type {other}, expected numbers")),
        };
        if numbers.len() != count {
            return self.fail(format!("{count} numbers are declared, {} are there", numbers.len()));
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const META: &[u8] = include_bytes!("../../tests/fixtures/meta.mat");
    const PLAIN: &[u8] = include_bytes!("../../tests/fixtures/cars_test_annos_withlabels.mat");

    #[test]
    fn structures_and_cells_are_read() {
        let variables = parse(META).unwrap();
        let [(name, Value::Struct { fields, elements })] = &variables[..] else { panic!("{variables:?}") };
        assert_eq!(
            (name.as_str(), &fields[..]),
            ("synsets", &["ILSVRC2012_ID", "WNID", "words", "num_children"].map(String::from)[..])
        );
        assert_eq!(elements.len(), 3);
        assert_eq!((elements[1][0].index(), elements[1][1].text()), (Some(166), Some("n02102040")));
        let cells = parse(include_bytes!("../../tests/fixtures/cars_meta.mat")).unwrap();
        let [(_, Value::Cell(names))] = &cells[..] else { panic!("{cells:?}") };
        assert_eq!((names.len(), names[195].text()), (196, Some("Make 195 Sedan 2005")));
    }

    #[test]
    fn other_files_are_told_apart() {
        for (header, expected) in [
            (&[0x01, 0x00, b'M', b'I'], "big-endian"),
            (&[0x00, 0x02, b'I', b'M'], "7.3"),
            (&[0x00, 0x00, 0x00, 0x00], "not a level 5"),
        ] {
            let mut bytes = PLAIN.to_vec();
            bytes[124..128].copy_from_slice(header);
            assert!(parse(&bytes).unwrap_err().reason.contains(expected));
        }
        assert!(parse(&PLAIN[..100]).unwrap_err().reason.contains("incomplete"));
    }

    /// An element whose tag declares more than there is must be refused.
    #[test]
    fn declared_sizes_are_not_believed() {
        let mut bytes = PLAIN.to_vec();
        bytes[132..136].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&bytes).unwrap_err().reason.contains("are declared"));
        // The 1 x 2 structures become 65,535 x 65,535.
        let mut bytes = PLAIN.to_vec();
        let dims = bytes.windows(8).position(|window| window == [1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        bytes[dims..dims + 8].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
        assert!(parse(&bytes).unwrap_err().reason.contains("are declared"), "{:?}", parse(&bytes));
    }

    #[test]
    fn a_compression_bomb_is_stopped() {
        use std::io::Write as _;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..257).for_each(|_| encoder.write_all(&zeros).unwrap());
        let data = encoder.finish().unwrap();
        let mut bytes = PLAIN[..HEADER].to_vec();
        bytes.extend(COMPRESSED.to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        assert!(parse(&bytes).unwrap_err().reason.contains("more than 256 MiB"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn damaged_files_never_panic(
            compressed: bool, damage in proptest::collection::vec((124usize..2000, any::<u8>()), 1..6), cut in 100usize..2000,
        ) {
            let mut bytes = if compressed { META } else { PLAIN }.to_vec();
            let length = bytes.len();
            damage.into_iter().for_each(|(at, byte)| bytes[at % length] = byte);
            bytes.truncate(cut);
            let _ = parse(&bytes);
        }

        #[test]
        fn random_elements_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&[&PLAIN[..HEADER], &tail].concat());
            // The element lies inside a matrix.
            let tag = [14u32.to_le_bytes(), (tail.len() as u32).to_le_bytes()].concat();
            let _ = parse(&[&PLAIN[..HEADER], &tag, &tail].concat());
        }
    }
}
