//! Fetching that is killed or refused by the disk, and begun again. A data folder is complete at every moment, and in
//! the end it holds the bytes of an undisturbed fetch. `GNR_KILLS=100` kills a hundred fetches.
//!
//! Each test starts itself again in a process of its own, which fetches when it finds [`FROM`] in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gnr_data::{DataError, DatasetInfo, FetchEvent, OpenOptions, Part, Unpack, fetch, open};
use tempfile::tempdir;

use crate::fetch::{Entry, offered, quick, tar_of, with, zip_of};
use crate::server::Server;
use crate::trees::{cifar_records, gzip};

/// Environment variable with the address of the server and the data folder, for the process that fetches.
const FROM: &str = "GNR_TEST_FETCH_FROM";
const INTO: &str = "GNR_TEST_FETCH_INTO";
/// Number of images in a file of CIFAR-10.
const IMAGES: usize = 20;

/// The generator SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// CIFAR-10's archive, a zip file, and a file that is not unpacked.
fn files() -> [(&'static str, Vec<u8>, Unpack); 3] {
    let records = cifar_records(&[&[3]]).repeat(IMAGES);
    let notes = vec![b'n'; 5000];
    let batches =
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
            .map(|name| format!("cifar-10-batches-bin/{name}.bin"));
    let others: Vec<String> = (0..30).map(|n| format!("cifar-10-batches-bin/notes/{n}.txt")).collect();
    let mut entries: Vec<Entry<'_>> = batches.iter().map(|name| Entry::File(name, &records)).collect();
    entries.extend(others.iter().map(|name| Entry::File(name, &notes)));
    let zipped: Vec<String> = (0..30).map(|n| format!("{}/{n}.txt", n % 3)).collect();
    let zipped: Vec<(&str, &[u8])> = zipped.iter().map(|name| (&name[..], &notes[..])).collect();
    let plain: Vec<u8> = (0..600_000u32).map(|i| (i * 7 / 3) as u8).collect();
    [
        ("cifar-10-binary.tar.gz", gzip(&tar_of(&entries)), Unpack::Tar { into: "" }),
        ("more.zip", zip_of(&zipped), Unpack::Zip { into: "more/x" }),
        ("plain", plain, Unpack::Keep),
    ]
}

/// Groups of files that become visible at once, by the first parts of their paths.
const GROUPS: [&str; 5] = ["cifar-10-batches-bin/", "more/", "plain", "cifar-10-binary.tar.gz", "more.zip"];

fn info(base: &str) -> DatasetInfo {
    let downloads = files().into_iter().map(|(file, bytes, unpack)| offered(base, file, &bytes, unpack));
    with("cifar10", downloads.collect())
}

fn serve() -> Server {
    let server = Server::start();
    files().into_iter().for_each(|(file, bytes, _)| server.serve(file, bytes));
    server
}

/// In the process that fetches: fetches, prints a line for each event, and returns true.
#[allow(clippy::print_stdout, reason = "it speaks to the process that kills it")]
fn fetched_here() -> bool {
    let (Ok(base), Ok(dir)) = (std::env::var(FROM), std::env::var(INTO)) else { return false };
    let told = fetch(&info(&base), Path::new(&dir), &quick(), &mut |event| {
        println!("{}", kind(&event));
        // Simulates a slow disk and network.
        std::thread::sleep(Duration::from_micros(100));
    });
    if let Err(error) = told {
        println!("error: {error}");
        std::process::exit(1);
    }
    true
}

fn kind(event: &FetchEvent<'_>) -> String {
    match event {
        FetchEvent::Downloading { file, .. } => format!("downloading {file}"),
        FetchEvent::Checking { file, .. } => format!("checking {file}"),
        FetchEvent::Unpacking { file, .. } => format!("unpacking {file}"),
        FetchEvent::Ready { file, .. } => format!("ready {file}"),
        FetchEvent::Retrying { file, reason } => format!("retrying {file}: {reason}"),
    }
}

/// A process that runs only the test called `name`, as [`fetched_here`].
fn child(name: &str, server: &Server, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(FROM, &server.base).env(INTO, dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The contents of a folder, by path.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Fails unless every visible file in `dir` is complete, and opening the data set agrees with that.
fn check_visible(dir: &Path, whole: &BTreeMap<String, Vec<u8>>, when: &str) {
    let found = contents(dir);
    for group in GROUPS {
        let of = |all: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
            // An archive whose folder is there already is unpacked in a hidden folder within it.
            let hidden = |name: &str| name.ends_with(".part") || name.contains(".unpacking/");
            let ours = all.iter().filter(|(name, _)| name.starts_with(group) && !hidden(name));
            ours.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
        };
        let (found, whole) = (of(&found), of(whole));
        let names: Vec<&String> = found.keys().collect();
        assert!(found.is_empty() || found == whole, "{when}: {group} shows {names:?}");
    }
    match open("cifar10", Part::Train, &OpenOptions::dir(dir)) {
        Ok(set) => assert_eq!(set.len(), 5 * IMAGES, "{when}"),
        Err(DataError::MissingData { found, .. }) => {
            let begun = fs::read_dir(dir).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    name.ends_with(".unpacking") || name.ends_with(".part")
                })
            });
            assert_eq!(found.contains("was interrupted"), begun, "{when}: {found}");
        }
        Err(other) => panic!("{when}: {other}"),
    }
}

/// The undisturbed result, and the number of events until it.
fn whole(name: &str, server: &Server, dir: &Path) -> (BTreeMap<String, Vec<u8>>, u64) {
    let output = child(name, server, dir).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let events = told(&output).lines().filter(|line| is_event(line)).count();
    (contents(dir), events as u64)
}

fn is_event(line: &str) -> bool {
    ["downloading ", "checking ", "unpacking ", "ready "].iter().any(|kind| line.starts_with(kind))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_fetch_that_is_killed_goes_on_to_the_same_bytes() {
    if fetched_here() {
        return;
    }
    let name = "killed::a_fetch_that_is_killed_goes_on_to_the_same_bytes";
    let wanted: u32 = std::env::var("GNR_KILLS").map_or(12, |text| text.parse().unwrap());
    let (server, home) = (serve(), tempdir().unwrap());
    let (whole, events) = whole(name, &server, &home.path().join("whole"));
    assert!(!whole.keys().any(|file| file.ends_with(".part") || file.contains(".unpacking")), "{whole:?}");
    let (mut random, mut kills, mut at) = (Random(1), 0, BTreeMap::<String, u32>::new());
    let mut states = BTreeSet::new();
    let mut folder = 0;
    while kills < wanted {
        let dir = home.path().join(folder.to_string());
        folder += 1;
        assert!(folder < 20 * wanted, "{kills} processes could be killed in {folder} folders");
        // The folder is interrupted once and, every other time, a second time.
        loop {
            let mut process = child(name, &server, &dir).spawn().unwrap();
            let (after, pause) = (random.below(events), Duration::from_micros(random.below(1500)));
            let lines = BufReader::new(process.stdout.take().unwrap()).lines();
            let mut seen = lines.map(Result::unwrap).filter(|line| is_event(line));
            let last = seen.nth(after as usize);
            std::thread::sleep(pause);
            let ended = process.try_wait().unwrap();
            process.kill().unwrap();
            process.wait().unwrap();
            if let Some(status) = ended {
                assert!(status.success());
                break;
            }
            kills += 1;
            let last = last.unwrap_or_else(|| "the end".into());
            check_visible(&dir, &whole, &format!("killed at {last}"));
            *at.entry(last).or_default() += 1;
            states.insert(
                contents(&dir).into_iter().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>(),
            );
            if random.below(2) == 0 {
                break;
            }
        }
        let output = child(name, &server, &dir).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let found = contents(&dir);
        let differs: Vec<&String> =
            whole.keys().chain(found.keys()).filter(|name| whole.get(*name) != found.get(*name)).collect();
        assert!(differs.is_empty(), "{differs:?}");
        fs::remove_dir_all(&dir).unwrap();
    }
    println!("{kills} kills left {} different states, the last event before them: {at:?}", states.len());
    assert!(at.keys().any(|event| event.starts_with("unpacking")) && states.len() > 3, "{at:?}");
}

/// Runs the process with every file that it writes limited to `blocks` of 512 bytes: more is refused, as on a full
/// disk.
#[cfg(unix)]
fn limited(command: &Command, blocks: u32) -> Output {
    let mut limited = Command::new("sh");
    // The signal would end the process before it could report the error.
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_disk_that_refuses_is_named_and_the_fetch_goes_on() {
    if fetched_here() {
        return;
    }
    let name = "killed::a_disk_that_refuses_is_named_and_the_fetch_goes_on";
    let (server, home) = (serve(), tempdir().unwrap());
    let (whole, _) = whole(name, &server, &home.path().join("whole"));
    let archive = whole["cifar-10-binary.tar.gz"].len();
    let batch = whole["cifar-10-batches-bin/test_batch.bin"].len();
    assert!(archive < 20_000 && batch > 60_000, "{archive} {batch}");
    let unpacked = ".cifar-10-binary.tar.gz.unpacking/cifar-10-batches-bin/data_batch_1.bin";
    // Blocks may have 1024 bytes.
    for (blocks, file, asked) in [(1, "cifar-10-binary.tar.gz.part", 3), (50, unpacked, 2)] {
        let dir = home.path().join(blocks.to_string());
        let output = limited(&child(name, &server, &dir), blocks);
        let refused = format!("error: {}: cannot write: ", dir.join(file).display());
        let text = told(&output);
        assert!(!output.status.success() && text.contains(&refused), "{text}");
        assert!(text.contains("too large") && !text.contains("damaged"), "{text}");
        check_visible(&dir, &whole, file);
        assert!(!contents(&dir).keys().any(|file| file.contains(".unpacking")), "{text}");
        server.ranges();
        let output = child(name, &server, &dir).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        assert!(contents(&dir) == whole, "{file}");
        // Bytes that were already there are not asked for again.
        let ranges = server.ranges();
        assert_eq!(ranges.len(), asked, "{ranges:?}");
        assert_eq!(ranges[0].is_some(), asked == 3, "{ranges:?}");
    }
}
