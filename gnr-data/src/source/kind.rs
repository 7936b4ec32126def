//! What a file is that is not what was expected: told from its first bytes, for the words of errors.

/// First bytes of formats, and what a reader of an error calls them.
const KINDS: &[(&[u8], &str)] = &[
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet file"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF document"),
    (b"\0\0\x08\x01", "an IDX file of one dimension (labels)"),
    (b"\0\0\x08\x03", "an IDX file of three dimensions (images)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\0\0\x01\0", "a Windows icon"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
];

/// Brands in the first box of an ISO media file.
const BRANDS: &[(&[u8], &str)] = &[
    (b"avif", "an AVIF image"),
    (b"avis", "an AVIF image"),
    (b"heic", "a HEIC image"),
    (b"heix", "a HEIC image"),
    (b"hevc", "a HEIC image"),
    (b"mif1", "a HEIF image"),
];

/// What starts like `bytes`, in words; at least a few bytes in hexadecimal.
pub(crate) fn what_is(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    let start = &bytes[..bytes.len().min(512)];
    if start.len() >= 16 && start.iter().all(|&byte| byte == 0) {
        return "a file that begins with zeros only (a download or copy that was never filled)".into();
    }
    if let Some((_, kind)) = KINDS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return (*kind).into();
    }
    if start.get(4..8) == Some(b"ftyp") {
        let brand = start.get(8..12).unwrap_or_default();
        return BRANDS.iter().find(|(name, _)| *name == brand).map_or("a video", |(_, kind)| kind).into();
    }
    let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return "a web page; log in or use the link to the file itself, and download it again".into();
    }
    if text.starts_with("<svg") || text.starts_with("<?xml") {
        return "an XML text".into();
    }
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    if start.iter().all(printable) {
        let words: String = String::from_utf8_lossy(start).trim().chars().take(40).collect();
        return format!("a text that begins `{}`", words.escape_default());
    }
    let hex: Vec<String> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes of an unknown kind that begin {}", bytes.len(), hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::what_is;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b""[..], "an empty file"),
            (&[0; 600], "a file that begins with zeros only"),
            (b"\0\0\0\x18ftypheic....", "a HEIC image"),
            (b"\0\0\0\x18ftypavif....", "an AVIF image"),
            (b"\n <!DOCTYPE html><html>", "a web page"),
            (b"404: Not Found\n", "a text that begins `404: Not Found`"),
            (b"\xfe\x01", "2 bytes of an unknown kind that begin fe 01"),
        ] {
            assert!(what_is(bytes).starts_with(expected), "{}", what_is(bytes));
        }
    }
}
