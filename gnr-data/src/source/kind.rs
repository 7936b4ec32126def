//! Kinds of files, recognised by their first bytes, for errors about files that were not expected.

const LFS: &str = "a Git LFS pointer; run `git lfs pull`";

/// First bytes of formats, with the words that errors use for them.
const KINDS: &[(&[u8], &str)] = &[
    (b"version https://git-lfs", LFS),
    (b"version https://hawser", LFS),
    (b"# xet version", "a Xet pointer; run `git xet checkout`"),
    (b"outs:", "a DVC pointer; run `dvc pull`"),
    (b"/annex/objects/", "a git-annex pointer; run `git annex get`"),
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
    (b"\0\0\x09", "an IDX file of signed bytes"),
    (b"\0\0\x0b", "an IDX file of 16-bit integers"),
    (b"\0\0\x0c", "an IDX file of 32-bit integers"),
    (b"\0\0\x0d", "an IDX file of floating-point numbers"),
    (b"\0\0\x0e", "an IDX file of floating-point numbers of 8 bytes"),
    (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\x08\x01", "an IDX file of one dimension (labels)"),
    (b"\0\0\x08\x03", "an IDX file of three dimensions (images)"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\x89PNG", "a PNG image whose line ends were changed, as if it were a text; copy it again"),
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

/// The kind of a file that starts with `bytes`, in words; for unknown kinds a few bytes in hexadecimal.
pub(crate) fn what_is(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    let start = &bytes[..bytes.len().min(512)];
    if start.len() >= 16 && start.iter().all(|&byte| byte == 0) {
        return "a file that begins with zeros only (a download or copy that was never filled)".into();
    }
    // A byte-order mark may precede the text of a pointer.
    let unmarked = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    if let Some((_, kind)) = KINDS.iter().find(|(magic, _)| unmarked.starts_with(magic)) {
        return (*kind).into();
    }
    if start.get(4..8) == Some(b"ftyp") {
        let brand = start.get(8..12).unwrap_or_default();
        return BRANDS.iter().find(|(name, _)| *name == brand).map_or("a video", |(_, kind)| kind).into();
    }
    // In UTF-16 the ASCII letters are enough to recognise the text.
    let wide = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    let letters =
        |bytes: &[u8]| bytes.iter().copied().filter(u8::is_ascii).filter(|&byte| byte > 0).collect();
    let start = if wide { letters(start) } else { start.to_vec() };
    let text = String::from_utf8_lossy(&start).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    let page = ["<!doctype html", "<html", "<head", "<script", "<title", "<meta", "<body"];
    if page.iter().any(|tag| text.starts_with(tag)) || (text.starts_with("<!--") && text.contains("<html")) {
        return "a web page; log in or use the link to the file itself, and download it again".into();
    }
    let tag = text
        .strip_prefix('<')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()));
    if tag || text.starts_with("<?xml") {
        return "an XML text".into();
    }
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    if start.iter().all(printable) {
        let words: String = String::from_utf8_lossy(&start).trim().chars().take(40).collect();
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
            (b"\xff\xfe<\0h\0t\0m\0l\0>\0", "a web page"),
            (b"<!-- saved -->\n<HTML>", "a web page"),
            (b"<Error><Code>AccessDenied</Code></Error>", "an XML text"),
            (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
            (b"\x89PNG\n\x1a\n", "a PNG image whose line ends were changed"),
            (b"404: Not Found\n", "a text that begins `404: Not Found`"),
            (b"\xfe\x01", "2 bytes of an unknown kind that begin fe 01"),
        ] {
            assert!(what_is(bytes).starts_with(expected), "{}", what_is(bytes));
        }
    }
}
