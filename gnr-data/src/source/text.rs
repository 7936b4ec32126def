//! Lists and names as text: UTF-8 with or without a byte-order mark, and UTF-16 with one, which editors on Windows
//! write.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{DataError, Result};

/// The error for bytes that are no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoText {
    /// The line of the bytes, from 1.
    pub(crate) line: usize,
    /// The reason why they are no text.
    pub(crate) reason: String,
}

/// Decodes `bytes` as text, without their byte-order mark.
pub(crate) fn decode_text(bytes: &[u8]) -> Result<Cow<'_, str>, NoText> {
    let wide = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        match text {
            Ok(text) if bytes.len().is_multiple_of(2) => Ok(Cow::Owned(text)),
            _ => Err(NoText { line: 1, reason: "what starts as UTF-16 text and is none".into() }),
        }
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => {
                let (before, after) = rest.split_at(error.valid_up_to());
                let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
                let byte = after.first().copied().unwrap_or_default();
                Err(NoText {
                    line,
                    reason: format!("text that is not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"),
                })
            }
        },
    }
}

/// Reads the text of a file.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::BadLine`] for a file that is no text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    text_of(path, &std::fs::read(path).map_err(DataError::io(path, "read"))?)
}

/// Decodes the text of the file at `path` from its contents `bytes`.
///
/// # Errors
/// [`DataError::BadLine`] for a file that is no text.
pub(crate) fn text_of(path: &Path, bytes: &[u8]) -> Result<String> {
    match decode_text(bytes) {
        Ok(text) => Ok(text.into_owned()),
        Err(NoText { line, reason }) => Err(DataError::BadLine { path: path.to_path_buf(), line, reason }),
    }
}

/// Number of characters of a file that an error repeats.
const EXCERPT: usize = 60;

/// The beginning of a piece of a file, for errors: the piece may be as long as the file.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short() {
        assert_eq!(excerpt("añb"), "añb");
        for (long, byte) in [("é".repeat(1 << 20), "é"), ("a".repeat(61), "a")] {
            assert_eq!(excerpt(&long), format!("{}…", byte.repeat(60)));
        }
    }

    #[test]
    fn every_mark_is_taken_off_and_what_is_no_text_is_refused() {
        for bytes in [&b"\xef\xbb\xbfa\r\n"[..], b"a\r\n", b"\xff\xfea\0\r\0\n\0", b"\xfe\xff\0a\0\r\0\n"] {
            assert_eq!(decode_text(bytes).as_deref(), Ok("a\r\n"));
        }
        for (bytes, line) in [(&b"a\nb\xe9\n"[..], 2), (b"\xff\xfea", 1), (b"\xff\xfe\0\xd8", 1)] {
            assert_eq!(decode_text(bytes).unwrap_err().line, line, "{bytes:?}");
        }
    }
}
