//! The corpus of a campaign: a text file with a line for each refusal, after a heading. A line has the words of the
//! refusal and its smallest known input. Bytes that are not printable are escaped as in Rust, and `\*9;x` stands for
//! nine bytes `x`.

use std::fs;
use std::path::Path;

/// An outcome and an input that has it.
pub(crate) type Entry = (String, Vec<u8>);

/// The entries of a corpus file; none if the file does not exist.
///
/// # Panics
/// When the file cannot be read, or a line is not an outcome, a tab and an input.
pub(crate) fn read(path: &Path) -> Vec<Entry> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: cannot read: {error}", path.display()),
    };
    let entry = |line: &str| {
        let (outcome, input) = line.split_once('\t')?;
        Some((outcome.to_owned(), unescape(input)?))
    };
    let lines = text.lines().enumerate().skip(1);
    lines
        .map(|(number, line)| {
            entry(line).unwrap_or_else(|| {
                panic!("{}:{}: expected OUTCOME, a tab, INPUT", path.display(), number + 1)
            })
        })
        .collect()
}

/// Length of the longest line that is written, in bytes.
const LONGEST: usize = 2 << 10;

/// Writes the entries, sorted by outcome, but for those whose line is longer than [`LONGEST`].
pub(crate) fn write(path: &Path, entries: &[Entry]) {
    let mut lines: Vec<String> =
        entries.iter().map(|(outcome, input)| format!("{outcome}\t{}\n", escape(input))).collect();
    lines.retain(|line| line.len() <= LONGEST);
    lines.sort();
    let text = format!(
        "An outcome and the smallest known input of it a line; GNR_FUZZ_CORPUS=1 writes them.\n{}",
        lines.concat()
    );
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Length of the shortest run of equal bytes that is written as a count.
const RUN: usize = 8;

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        match run.len() {
            0..RUN => text.extend(run.escape_ascii().map(char::from)),
            times => text.push_str(&format!("\\*{times};{}", run[..1].escape_ascii())),
        }
    }
    text
}

/// Reads the bytes that [`escape`] wrote; `None` for an escape that is not one of its own.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.bytes();
    let mut bytes = Vec::with_capacity(text.len());
    // Number of times that the next byte is repeated.
    let mut times = 1;
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next()? {
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                b'*' => {
                    let digits: Vec<u8> = rest.by_ref().take_while(|&digit| digit != b';').collect();
                    times = std::str::from_utf8(&digits).ok()?.parse().ok()?;
                    continue;
                }
                other @ (b'\\' | b'\'' | b'"') => other,
                _ => return None,
            },
            other => other,
        };
        bytes.resize(bytes.len() + std::mem::replace(&mut times, 1), byte);
    }
    Some(bytes)
}

/// Largest number of shorter inputs that [`minimise`] tries.
const TRIES: usize = 1000;

/// Removes from an input the halves, quarters, … and single bytes without which `same` still holds. At most [`TRIES`]
/// shorter inputs are tried.
pub(crate) fn minimise(mut bytes: Vec<u8>, mut same: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let (mut span, mut tries) = (bytes.len() / 2, 0);
    while span > 0 {
        let mut at = 0;
        while at < bytes.len() && tries < TRIES {
            tries += 1;
            let end = (at + span).min(bytes.len());
            let shorter = [&bytes[..at], &bytes[end..]].concat();
            if same(&shorter) {
                bytes = shorter;
            } else {
                at = end;
            }
        }
        span /= 2;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let bytes: Vec<u8> = (0..=255).chain([b'*'; 7]).chain([0; 8]).chain([b'\\'; 3000]).collect();
        let text = escape(&bytes);
        assert!(text.ends_with(r"*******\*8;\x00\*3000;\\"), "{text}");
        assert_eq!(unescape(&text), Some(bytes));
        assert!(["\\", "\\x1", "\\q", "\\*x;a"].iter().all(|text| unescape(text).is_none()));
    }

    #[test]
    fn what_is_not_needed_is_left_out() {
        let needed = |bytes: &[u8]| bytes.contains(&b'x') && bytes.contains(&b'y');
        assert_eq!(minimise(b"abcxdefghyijk".to_vec(), needed), b"xy");
    }
}
