//! Detection of truncated JPEG files, which the decoder forgives by filling the missing part of the image with grey.
//!
//! Only the marker structure is followed (ITU-T T.81, annex B): segments have lengths, and entropy-coded data end at
//! the next marker that is neither a stuffed zero nor a restart marker. A file is complete when it has an end-of-image
//! marker.

/// A JPEG that ends before its end-of-image marker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incomplete {
    /// The part that is cut off.
    pub(super) what: &'static str,
    /// Offset at which that part would end.
    pub(super) expected: usize,
}

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// Whether `bytes` start like a JPEG.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, START])
}

/// Checks that the markers of a JPEG lead to its end-of-image marker. Other damage is left to the decoder.
pub(super) fn check_complete(bytes: &[u8]) -> Result<(), Incomplete> {
    let mut at = 2;
    loop {
        let cut = |what, expected| Err(Incomplete { what, expected });
        let Some(&lead) = bytes.get(at) else { return cut("end-of-image marker", at + 2) };
        if lead != 0xff {
            return Ok(()); // not at a marker: damaged, the decoder's business
        }
        let Some(&marker) = bytes.get(at + 1) else { return cut("marker", at + 2) };
        match marker {
            0xff => at += 1, // fill byte
            END => return Ok(()),
            0x01 | 0xd0..=START => at += 2, // markers without a segment
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                    return cut("segment length", at + 4);
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
                if at > bytes.len() {
                    return cut("segment", at);
                }
                if marker == SCAN {
                    at = end_of_scan(bytes, at);
                }
            }
        }
    }
}

/// Offset of the first marker after the entropy-coded data that starts at `at`.
fn end_of_scan(bytes: &[u8], at: usize) -> usize {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7);
    let found = bytes[at..].windows(2).position(is_marker);
    found.map_or(bytes.len(), |position| at + position)
}
