//! Words of the formats, which damage puts into wrong places, and the size that an input justifies.

use std::io::Read;

/// Words of IDX, gzip and CIFAR.
pub(crate) const HEADERS: &[&[u8]] = &[
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0",
    b"\x1f\x8b\x08\x1f",
    b"\0\0\x08\x03",
    b"\0\0\x08\x01",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x01",
];

/// Words of pickles.
pub(crate) const PICKLE: &[&[u8]] = &[
    b"N",
    b"]",
    b")",
    b"}",
    b"(",
    b"2",
    b"0",
    b"1",
    b"K\x01",
    b"h\x01",
    b"q\x01",
    b"\x94",
    b"]a",
    b"](ee",
    b")R",
    b"}b",
    b"(t",
    b"(d",
    b"\x85",
    b"\x86",
    b"I1\n",
    b"S'a\\x00'\n",
    b"V\\u00e9\n",
    b"X\x01\0\0\0a",
    b"\x8c\x01a",
    b"p7\n",
    b"ca\nb\n",
    b"\x8c\x01a\x93",
    b"c_codecs\nencode\n(X\x01\0\0\0aX\x06\0\0\0latin1tR",
    b"cnumpy.core.multiarray\nscalar\n",
    b"ccollections\nOrderedDict\n)R",
];

/// Words of MAT-files: tags of elements.
pub(crate) const MAT: &[&[u8]] = &[
    b"\x0e\0\0\0\0\0\0\0",
    b"\x0e\0\0\0\x08\0\0\0",
    b"\x0f\0\0\0",
    b"\x06\0\0\0\x08\0\0\0",
    b"\x05\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0",
    b"\x01\0\0\0\x05\0\0\0",
    b"\x02\0\x01\0\x01\0\0\0",
    b"\x05\0\x04\0\x20\0\0\0",
    b"\x10\0\0\0\x03\0\0\0abc",
    b"\xff\xff\xff\x7f",
    b"annotations",
    b"class_names",
];

/// Words of NumPy's arrays and of lists of labels.
pub(crate) const NPY: &[&[u8]] = &[
    b"\x93NUMPY\x01\x00",
    b"'descr'",
    b"'|u1'",
    b"'<i8'",
    b"'<f8'",
    b"True",
    b"(6,)",
    b"(9223372036854775807,)",
    b"()",
    b"(2, 3)",
    b"\\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\n",
    b"# ",
    b"-1",
    b"1\n",
];

/// Words of lists of images.
pub(crate) const LISTS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b" ",
    b",",
    b"/",
    b"../",
    b"0\n",
    b"1000",
    b"n01440764",
    b"\"a/1\",",
    b"\"pie\": []",
    b"{",
    b"[",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"#",
    b"\\u0000",
];

/// Words of tar and zip archives.
pub(crate) const ARCHIVES: &[&[u8]] = &[
    b"../",
    b"/",
    b"\\",
    b"d/a",
    b".tar",
    b"ustar\x0000",
    b"ustar  \0",
    b"0000644\0",
    b"00000000007\0",
    b"77777777777\0",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\0\0\0\0\0\0\0\0",
    b"5",
    b"2",
    b"x",
    b"30 path=../evil\n",
];

/// Largest number of decompressed bytes that is counted.
const MOST: u64 = 1 << 26;

pub(crate) fn inflated(reader: &mut dyn Read) -> usize {
    let mut out = Vec::new();
    // Read as far as it can be decompressed.
    let _ = reader.take(MOST).read_to_end(&mut out);
    out.len()
}

/// Number of bytes of a file; for gzip, also of its decompressed contents.
pub(crate) fn gunzipped(bytes: &[u8]) -> usize {
    let gzipped = bytes.starts_with(&[0x1f, 0x8b]);
    bytes.len() + if gzipped { inflated(&mut flate2::read::MultiGzDecoder::new(bytes)) } else { 0 }
}

/// Number of bytes of a MAT-file and of its decompressed elements.
pub(crate) fn mat_decompressed(bytes: &[u8]) -> usize {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let (mut length, mut at) = (bytes.len(), 128);
    while let (Some(kind), Some(size)) = (word(at), word(at + 4)) {
        let Some(data) = bytes.get(at + 8..).and_then(|rest| rest.get(..size)) else { break };
        if kind == 15 {
            length += inflated(&mut flate2::read::ZlibDecoder::new(data));
        }
        at += 8 + size;
    }
    length
}

/// zlib's checksum (RFC 1950).
pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}
