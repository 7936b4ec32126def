//! Fetching from a server on this machine: resume, checksums, malicious archives.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use gnr_data::{
    DataError, DatasetInfo, Download, FetchEvent, FetchOptions, OpenOptions, Part, Unpack, fetch, find, open,
};
use md5::{Digest, Md5};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::server::{Fault, Server};
use crate::trees::{cifar_records, gzip, idx};

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry `info` with other downloads. What it borrows lives as long as the test process.
pub(crate) fn with(info: &str, downloads: Vec<Download>) -> DatasetInfo {
    find(info).unwrap().with_downloads(Box::leak(downloads.into_boxed_slice()))
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A download of a file from the server at `base`.
pub(crate) fn offered(base: &str, file: &'static str, bytes: &[u8], unpack: Unpack) -> Download {
    let urls = Box::leak(vec![leaked(format!("{base}/{file}"))].into_boxed_slice());
    Download { urls, file, md5: leaked(md5(bytes)), unpack, limit: 1 << 20 }
}

/// Puts a file on the server and returns its download.
fn published(server: &Server, file: &'static str, bytes: &[u8], unpack: Unpack) -> Download {
    server.serve(file, bytes.to_vec());
    offered(&server.base, file, bytes, unpack)
}

pub(crate) fn quick() -> FetchOptions {
    FetchOptions { pause: Duration::ZERO, attempts: 3, ..FetchOptions::default() }
}

fn run(info: &DatasetInfo, dir: &Path) -> Result<Vec<String>, DataError> {
    let mut events = Vec::new();
    fetch(info, dir, &quick(), &mut |event| {
        events.push(match event {
            FetchEvent::Retrying { reason, .. } => format!("retry: {reason}"),
            FetchEvent::Ready { already, .. } => format!("ready {already}"),
            _ => return,
        });
    })
    .map(|()| events)
}

pub(crate) enum Entry<'a> {
    File(&'a str, &'a [u8]),
    Folder(&'a str),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Fifo(&'a str),
}

/// A tar archive with arbitrary names, which the library's own builder refuses.
pub(crate) fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let (name, kind, bytes, link): (_, _, &[u8], _) = match *entry {
            Entry::File(name, bytes) => (name, tar::EntryType::Regular, bytes, ""),
            Entry::Folder(name) => (name, tar::EntryType::Directory, &[], ""),
            Entry::Link(name, to) => (name, tar::EntryType::Symlink, &[], to),
            Entry::HardLink(name, to) => (name, tar::EntryType::Link, &[], to),
            Entry::Fifo(name) => (name, tar::EntryType::Fifo, &[], ""),
        };
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// CIFAR-10's published archive, with one record in each file.
fn cifar_archive() -> Vec<u8> {
    let records = cifar_records(&[&[3]]);
    let names =
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
            .map(|name| format!("cifar-10-batches-bin/{name}.bin"));
    let mut entries = vec![Entry::Folder("cifar-10-batches-bin/")];
    entries.extend(names.iter().map(|name| Entry::File(name, &records)));
    gzip(&tar_of(&entries))
}

#[test]
fn what_was_fetched_opens_and_is_not_fetched_twice() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let archive = published(&server, "cifar-10-binary.tar.gz", &cifar_archive(), Unpack::Tar { into: "" });
    let info = with("cifar10", vec![archive]);
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready false"]);
    assert_eq!(open("cifar10", Part::Train, &OpenOptions::dir(dir.path())).unwrap().len(), 5);
    assert_eq!(server.ranges().len(), 1);
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready true"]);
    // The archive that is there is unpacked again where its mark or its files are gone, or where an older program wrote
    // the mark, which names no files.
    let mark = dir.path().join(".cifar-10-binary.tar.gz.unpacked");
    let files = dir.path().join("cifar-10-batches-bin");
    let gone: [&dyn Fn(); 3] =
        [&|| fs::remove_file(&mark).unwrap(), &|| fs::remove_dir_all(&files).unwrap(), &|| {
            fs::write(&mark, md5(&cifar_archive())).unwrap()
        }];
    for gone in gone {
        gone();
        assert_eq!(run(&info, dir.path()).unwrap(), ["ready false"]);
        assert_eq!(open("cifar10", Part::Train, &OpenOptions::dir(dir.path())).unwrap().len(), 5);
        assert_eq!(run(&info, dir.path()).unwrap(), ["ready true"]);
    }
    // Without the archive, an older program's mark counts.
    fs::write(&mark, md5(&cifar_archive())).unwrap();
    fs::remove_file(dir.path().join("cifar-10-binary.tar.gz")).unwrap();
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready true"]);
    assert!(server.ranges().is_empty());
}

/// The images of ImageNet's validation archive lie in one folder, and users sort them into classes.
#[test]
fn files_that_were_sorted_are_not_unpacked_again() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let bytes = tar_of(&[Entry::File("a.JPEG", b"a"), Entry::File("b.JPEG", b"b")]);
    let info = with("imagenet", vec![published(&server, "val.tar", &bytes, Unpack::Tar { into: "val" })]);
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready false"]);
    let class = dir.path().join("val/n01440764");
    fs::create_dir(&class).unwrap();
    for name in ["a.JPEG", "b.JPEG"] {
        fs::rename(dir.path().join("val").join(name), class.join(name)).unwrap();
    }
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready true"]);
    assert!(!dir.path().join("val/a.JPEG").exists());
}

#[test]
fn one_process_at_a_time_fetches_a_file() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let archive = published(&server, "cifar-10-binary.tar.gz", &cifar_archive(), Unpack::Tar { into: "" });
    let info = with("cifar10", vec![archive]);
    // The second one begins while the first one unpacks.
    let mut second = None;
    fetch(&info, dir.path(), &quick(), &mut |event| {
        if matches!(event, FetchEvent::Unpacking { .. }) && second.is_none() {
            second = Some(run(&info, dir.path()).unwrap_err());
        }
    })
    .unwrap();
    let told = second.unwrap().to_string();
    assert!(told.contains("another process fetches cifar-10-binary.tar.gz here"), "{told}");
    assert_eq!(open("cifar10", Part::Train, &OpenOptions::dir(dir.path())).unwrap().len(), 5);
}

#[test]
fn files_that_are_read_as_they_are() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let images = gzip(&idx(&[2, 2, 3], &[5; 12]));
    let labels = gzip(&idx(&[2], &[1, 9]));
    let downloads = [
        ("train-images-idx3-ubyte.gz", &images),
        ("train-labels-idx1-ubyte.gz", &labels),
        ("t10k-images-idx3-ubyte.gz", &images),
        ("t10k-labels-idx1-ubyte.gz", &labels),
    ];
    let downloads = downloads.map(|(file, bytes)| published(&server, file, bytes, Unpack::Keep));
    let info = with("mnist", downloads.to_vec());
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready false"; 4]);
    assert_eq!(open("mnist", Part::Test, &OpenOptions::dir(dir.path())).unwrap().len(), 2);
    assert_eq!(run(&info, dir.path()).unwrap(), ["ready true"; 4]);
    assert_eq!(server.ranges().len(), 4);
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i * 7 / 3) as u8).collect();
    let info = with("mnist", vec![published(&server, "file", &bytes, Unpack::Keep)]);
    server.break_next(&[Fault::Break(30_000), Fault::Break(20_000)]);
    let events = run(&info, dir.path()).unwrap();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(server.ranges(), [None, Some("bytes=30000-".into()), Some("bytes=50000-".into())]);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), bytes);
    assert!(!dir.path().join("file.part").exists());
}

#[test]
fn another_run_continues_the_download() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let bytes = vec![9; 5000];
    let info = with("mnist", vec![published(&server, "file", &bytes, Unpack::Keep)]);
    server.break_next(&[Fault::Break(1000), Fault::Status(503), Fault::Status(503), Fault::Status(503)]);
    let message = run(&info, dir.path()).unwrap_err().to_string();
    assert!(message.contains("cannot download file") && message.contains("HTTP status 503"), "{message}");
    server.ranges();
    run(&info, dir.path()).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=1000-".into())]);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), bytes);
}

#[test]
fn servers_without_ranges_start_again() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let bytes: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    let info = with("mnist", vec![published(&server, "file", &bytes, Unpack::Keep)]);
    server.break_next(&[Fault::Break(1000), Fault::Whole]);
    run(&info, dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), bytes);
    // Without a length the end of the connection is the end of the file.
    fs::remove_file(dir.path().join("file")).unwrap();
    server.break_next(&[Fault::NoLength]);
    run(&info, dir.path()).unwrap();
    // A part from another position is not appended.
    fs::remove_file(dir.path().join("file")).unwrap();
    fs::write(dir.path().join("file.part"), &bytes[..10]).unwrap();
    server.break_next(&[Fault::WrongPart]);
    assert!(run(&info, dir.path()).unwrap_err().to_string().contains("another part"));
}

#[test]
fn a_beginning_that_is_longer_than_the_file_is_thrown_away() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let info = with("mnist", vec![published(&server, "file", b"contents", Unpack::Keep)]);
    fs::write(dir.path().join("file.part"), "a long beginning of something else").unwrap();
    run(&info, dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"contents");
    // The part is complete; only its checksum was not verified yet.
    fs::rename(dir.path().join("file"), dir.path().join("file.part")).unwrap();
    run(&info, dir.path()).unwrap();
}

#[test]
fn a_wrong_checksum_is_named_and_the_file_thrown_away() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let info = with("cifar10", vec![published(&server, "a.tar", &tar_of(&[]), Unpack::Tar { into: "" })]);
    server.serve("a.tar", b"something else".to_vec());
    match run(&info, dir.path()).unwrap_err() {
        DataError::Checksum { path, expected, found } => {
            assert_eq!((path, found), (dir.path().join("a.tar"), md5(b"something else")));
            assert_eq!(expected, md5(&tar_of(&[])));
        }
        other => panic!("{other}"),
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".a.tar.lock"]);
}

#[test]
fn what_cannot_be_had_is_said() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let gone = published(&server, "file", b"x", Unpack::Keep);
    let nowhere = Download { urls: &["http://127.0.0.1:1/file"], ..gone };
    let missing = Download {
        urls: Box::leak(vec![leaked(format!("{}/other", server.base))].into_boxed_slice()),
        ..gone
    };
    for (download, expected) in [(nowhere, "127.0.0.1:1/file"), (missing, "HTTP status 404")] {
        let message = run(&with("mnist", vec![download]), dir.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // The mirror is tried first, then the published address.
    let options = FetchOptions { mirror: Some(format!("{}/mirror/", server.base)), ..quick() };
    fetch(&with("mnist", vec![gone]), dir.path(), &options, &mut |_| {}).unwrap();
    server.serve("mirror/second", b"y".to_vec());
    let second = Download { urls: &[], file: "second", md5: leaked(md5(b"y")), ..gone };
    fetch(&with("mnist", vec![second]), dir.path(), &options, &mut |_| {}).unwrap();
    assert_eq!(fs::read(dir.path().join("second")).unwrap(), b"y");
    let by_hand = fetch(find("stanford-cars").unwrap(), dir.path(), &quick(), &mut |_| {}).unwrap_err();
    assert!(matches!(by_hand, DataError::MissingData { .. }));
    let by_hand =
        fetch(find("imagenet").unwrap(), dir.path(), &quick(), &mut |_| {}).unwrap_err().to_string();
    assert!(by_hand.contains("ILSVRC2012_devkit_t12.tar.gz not found") && by_hand.contains("image-net.org"));
    fs::write(dir.path().join("ILSVRC2012_devkit_t12.tar.gz"), "junk").unwrap();
    let junk = fetch(find("imagenet").unwrap(), dir.path(), &quick(), &mut |_| {}).unwrap_err();
    assert!(matches!(junk, DataError::Checksum { .. }));
}

#[test]
fn files_larger_than_the_bound_are_refused() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let download = Download { limit: 999, ..published(&server, "file", &[0; 1000], Unpack::Keep) };
    for faults in [&[][..], &[Fault::NoLength]] {
        server.break_next(faults);
        let message = run(&with("mnist", vec![download]), dir.path()).unwrap_err().to_string();
        assert!(message.contains("larger than the limit of 999 bytes"), "{message}");
    }
}

#[test]
fn archives_of_archives_and_zips_are_unpacked() {
    let (server, dir) = (Server::start(), tempdir().unwrap());
    let inner = tar_of(&[Entry::File("n01440764_1.JPEG", b"picture")]);
    let outer = tar_of(&[Entry::File("n01440764.tar", &inner), Entry::File("n02102040.tar", &inner)]);
    let zipped = zip_of(&[("gzip/a.gz", b"zipped"), ("gzip/b/c", b"")]);
    let downloads = vec![
        published(&server, "train.tar", &outer, Unpack::TarOfTars { into: "train" }),
        published(&server, "gzip.zip", &zipped, Unpack::Zip { into: "x" }),
    ];
    run(&with("imagenet", downloads), dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("train/n02102040/n01440764_1.JPEG")).unwrap(), b"picture");
    assert_eq!(fs::read(dir.path().join("x/gzip/a.gz")).unwrap(), b"zipped");
}

/// Nothing may appear outside of `dir/into`, whatever the archive says.
#[test]
fn archives_that_mean_harm_are_refused() {
    let big = vec![0; 70_000];
    let table: Vec<(Vec<u8>, Unpack, &str)> = vec![
        (tar_of(&[Entry::File("../evil", b"x")]), Unpack::Tar { into: "into" }, "leads out"),
        (tar_of(&[Entry::File("a/../../evil", b"x")]), Unpack::Tar { into: "into" }, "leads out"),
        (tar_of(&[Entry::File("/absolute/evil", b"x")]), Unpack::Tar { into: "into" }, "leads out"),
        (tar_of(&[Entry::Folder("../evil/")]), Unpack::Tar { into: "into" }, "leads out"),
        (tar_of(&[Entry::File("..\\evil", b"x")]), Unpack::Tar { into: "into" }, "backslash"),
        (
            tar_of(&[Entry::Link("link", ".."), Entry::File("link/evil", b"x")]),
            Unpack::Tar { into: "into" },
            "a link",
        ),
        (tar_of(&[Entry::HardLink("link", "/etc/passwd")]), Unpack::Tar { into: "into" }, "a link"),
        (tar_of(&[Entry::Fifo("pipe")]), Unpack::Tar { into: "into" }, "an entry of type"),
        (tar_of(&[Entry::File("", b"x")]), Unpack::Tar { into: "into" }, "without a name"),
        (
            tar_of(&[Entry::File("a", b"x"), Entry::File("a/b", b"x")]),
            Unpack::Tar { into: "into" },
            "no folder",
        ),
        (
            tar_of(&[Entry::Folder("a/"), Entry::File("a", b"x")]),
            Unpack::Tar { into: "into" },
            "no plain file",
        ),
        (
            gzip(&tar_of(&[Entry::File("a", &big), Entry::File("b", &big)])),
            Unpack::Tar { into: "into" },
            "more than the limit",
        ),
        (tar_of(&[Entry::File("a.txt", b"x")]), Unpack::TarOfTars { into: "into" }, "not a tar archive"),
        (
            tar_of(&[Entry::File("a.tar", &tar_of(&[Entry::File("../../evil", b"x")]))]),
            Unpack::TarOfTars { into: "into" },
            "leads out",
        ),
        (zip_of(&[("../evil", b"x")]), Unpack::Zip { into: "into" }, "leads out"),
        (zip_of(&[("/evil", b"x")]), Unpack::Zip { into: "into" }, "leads out"),
        (zip_of(&[("a", &big), ("b", &big)]), Unpack::Zip { into: "into" }, "more than the limit"),
    ];
    for (bytes, unpack, expected) in table {
        let (server, dir) = (Server::start(), tempdir().unwrap());
        let home = dir.path().join("home");
        let download = Download { limit: 100_000, ..published(&server, "a", &bytes, unpack) };
        let download =
            if bytes.len() > 100_000 { Download { limit: bytes.len() as u64, ..download } } else { download };
        let error = run(&with("mnist", vec![download]), &home).unwrap_err();
        assert!(matches!(error, DataError::UnsafeArchive { .. }), "{expected}: {error}");
        assert!(error.to_string().contains(expected), "{error}");
        let mut left: Vec<_> = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".a.lock", "a"], "{expected}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{expected}: something escaped");
    }
}

#[cfg(unix)]
#[test]
fn links_that_are_there_are_not_followed() {
    let (server, dir, other) = (Server::start(), tempdir().unwrap(), tempdir().unwrap());
    let archive = tar_of(&[Entry::File("images/a.jpg", b"x")]);
    let info = with("mnist", vec![published(&server, "a.tar", &archive, Unpack::Tar { into: "into" })]);
    fs::create_dir(dir.path().join("into")).unwrap();
    std::os::unix::fs::symlink(other.path(), dir.path().join("into/images")).unwrap();
    assert!(matches!(run(&info, dir.path()), Err(DataError::UnsafeArchive { .. })));
    fs::remove_file(dir.path().join("into/images")).unwrap();
    fs::create_dir(dir.path().join("into/images")).unwrap();
    let precious = other.path().join("precious");
    fs::write(&precious, "kept").unwrap();
    std::os::unix::fs::symlink(&precious, dir.path().join("into/images/a.jpg")).unwrap();
    assert!(matches!(run(&info, dir.path()), Err(DataError::UnsafeArchive { .. })));
    assert_eq!(fs::read_to_string(precious).unwrap(), "kept");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Archives with changed bytes give an error or files inside the folder, never a panic, and nothing outside.
    #[test]
    fn damaged_archives_stay_inside(
        kind in 0usize..4, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(),
    ) {
        let plain = tar_of(&[Entry::Folder("d/"), Entry::File("d/a", b"some contents"), Entry::File("b", &[7; 600])]);
        let (mut bytes, unpack) = match kind {
            0 => (plain, Unpack::Tar { into: "into" }),
            1 => (gzip(&plain), Unpack::Tar { into: "into" }),
            2 => (tar_of(&[Entry::File("x.tar", &plain)]), Unpack::TarOfTars { into: "into" }),
            _ => (zip_of(&[("d/a", b"some contents"), ("b", &[7; 600])]), Unpack::Zip { into: "into" }),
        };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let dir = tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("a"), &bytes).unwrap();
        let download = Download { urls: &[], file: "a", md5: leaked(md5(&bytes)), unpack, limit: 1 << 20 };
        let _ = run(&with("mnist", vec![download]), &home);
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for entry in fs::read_dir(&home).unwrap() {
            let name = entry.unwrap().file_name();
            prop_assert!(name == "a" || name == "into" || name == ".a.unpacked" || name == ".a.lock", "{name:?}");
        }
    }
}
