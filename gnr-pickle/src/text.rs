//! Texts of pickles: UTF-8, and the two kinds of escapes that protocol 0 writes.

use std::borrow::Cow;

use super::value::Encoding;

/// Decodes a text. Bytes that are no text become U+FFFD.
pub(crate) fn decode(bytes: &[u8], encoding: Encoding) -> Cow<'_, str> {
    match encoding {
        Encoding::Plain => String::from_utf8_lossy(bytes),
        Encoding::Quoted if !bytes.contains(&b'\\') => String::from_utf8_lossy(bytes),
        Encoding::Quoted => String::from_utf8_lossy(&unescape(bytes)).into_owned().into(),
        Encoding::RawEscape if bytes.is_ascii() && !bytes.contains(&b'\\') => String::from_utf8_lossy(bytes),
        Encoding::RawEscape => raw(bytes).into(),
    }
}

/// The bytes that Python 2 wrote as a string.
pub(crate) fn bytes(bytes: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Plain => bytes.into(),
        Encoding::Quoted if !bytes.contains(&b'\\') => bytes.into(),
        Encoding::Quoted => unescape(bytes).into(),
        Encoding::RawEscape => decode(bytes, encoding).into_owned().into_bytes().into(),
    }
}

/// The bytes that Latin-1 decodes to the text; `None` for a text with other characters.
pub(crate) fn latin1(bytes: &[u8], encoding: Encoding) -> Option<Cow<'_, [u8]>> {
    let text = match encoding {
        Encoding::Quoted => return Some(self::bytes(bytes, encoding)),
        Encoding::Plain => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => return Some(bytes.into()),
        },
        Encoding::RawEscape => decode(bytes, encoding),
    };
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

/// Replaces the escapes of Python's `repr` of bytes.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = match (first, tail) {
            (b'\\', [code, after @ ..]) => {
                rest = after;
                match code {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => match after {
                        [high, low, after @ ..] => match hex(&[*high, *low]) {
                            Some(value) => {
                                rest = after;
                                value as u8
                            }
                            None => b'x',
                        },
                        _ => b'x',
                    },
                    other => *other,
                }
            }
            _ => *first,
        };
        out.push(escaped);
    }
    out
}

/// Decodes `raw-unicode-escape`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
fn raw(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let digits = match tail {
            [b'u', digits @ ..] if *first == b'\\' => digits.get(..4),
            [b'U', digits @ ..] if *first == b'\\' => digits.get(..8),
            _ => None,
        };
        if let Some((digits, value)) = digits.and_then(|digits| Some((digits, hex(digits)?))) {
            out.push(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = &tail[1 + digits.len()..];
        } else {
            out.push(char::from(*first));
            rest = tail;
        }
    }
    out
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (bytes, encoding, expected) in [
            (&b"fc.weight"[..], Encoding::Quoted, "fc.weight"),
            (b"a\\\\b\\'c\\n\\x41\\xc3\\xa9", Encoding::Quoted, "a\\b'c\nA\u{e9}"),
            (b"\\xzz\\", Encoding::Quoted, "xzz\\"),
            (b"caf\xe9\\u20ac\\U0001f600\\u00", Encoding::RawEscape, "caf\u{e9}\u{20ac}\u{1f600}\\u00"),
            (b"\\Uffffffff", Encoding::RawEscape, "\u{fffd}"),
            ("é".as_bytes(), Encoding::Plain, "é"),
        ] {
            assert_eq!(decode(bytes, encoding), expected, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_within_texts() {
        let of_python2: [(&[u8], Encoding, &[u8]); 5] = [
            (b"\xff\x00", Encoding::Plain, b"\xff\x00"),
            ("é".as_bytes(), Encoding::Plain, b"\xc3\xa9"),
            (b"\\xe9'", Encoding::Quoted, b"\xe9'"),
            (b"a'", Encoding::Quoted, b"a'"),
            (b"\xe9\\u0000", Encoding::RawEscape, b"\xc3\xa9\x00"),
        ];
        for (written, encoding, expected) in of_python2 {
            assert_eq!(bytes(written, encoding), expected, "{written:?}");
        }
        let none: Option<&[u8]> = None;
        let of_python3 = [
            ("é".as_bytes(), Encoding::Plain, Some(&b"\xe9"[..])),
            (&b"\xff"[..], Encoding::Plain, Some(&b"\xff"[..])),
            ("€".as_bytes(), Encoding::Plain, none),
            (b"\\xe9'", Encoding::Quoted, Some(b"\xe9'")),
            (b"\xe9\\u0000", Encoding::RawEscape, Some(b"\xe9\x00")),
            (b"\\u20ac", Encoding::RawEscape, none),
        ];
        for (written, encoding, expected) in of_python3 {
            assert_eq!(latin1(written, encoding).as_deref(), expected, "{written:?}");
        }
    }
}
