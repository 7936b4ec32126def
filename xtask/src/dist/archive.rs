//! A tar archive whose bytes depend on its files alone: sorted, of one owner and one time, compressed without a name or
//! a clock.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

/// A file of an archive.
pub(super) struct Entry {
    /// Path in the archive, with `/` between folders.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    /// Whether the file is a program.
    pub(super) program: bool,
}

/// The archive, `.tar.gz`. `time` is that of every file, in seconds since 1970.
pub(super) fn packed(mut entries: Vec<Entry>, time: u64) -> Result<Vec<u8>> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut tar = tar::Builder::new(Vec::new());
    for entry in &entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(if entry.program { 0o755 } else { 0o644 });
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, entry.path.replace('\\', "/"), &entry.bytes[..])?;
    }
    // 255: of an unknown system.
    let mut zipped = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    zipped.write_all(&tar.into_inner()?)?;
    Ok(zipped.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn entry(path: &str, program: bool) -> Entry {
        Entry { path: path.into(), bytes: path.as_bytes().to_vec(), program }
    }

    #[test]
    fn the_order_of_files_changes_no_byte_and_their_contents_do() {
        let one = packed(vec![entry("a/b", true), entry("a/a", false)], 1000).unwrap();
        assert_eq!(one, packed(vec![entry("a/a", false), entry("a/b", true)], 1000).unwrap());
        for other in [
            packed(vec![entry("a/a", false), entry("a/b", false)], 1000),
            packed(vec![entry("a/a", false), entry("a/b", true)], 1001),
            packed(vec![entry("a/a", false), entry("a/c", true)], 1000),
        ] {
            assert_ne!(one, other.unwrap());
        }
    }

    #[test]
    fn it_unpacks_to_what_was_packed() {
        let bytes = packed(vec![entry("x/program", true), entry("x/text", false)], 86_400).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let files: Vec<(String, u32, u64, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let header = entry.header();
                let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
                (entry.path().unwrap().display().to_string(), mode, time, text)
            })
            .collect();
        assert_eq!(
            files,
            [
                ("x/program".into(), 0o755, 86_400, "x/program".into()),
                ("x/text".into(), 0o644, 86_400, "x/text".into())
            ]
        );
    }
}
