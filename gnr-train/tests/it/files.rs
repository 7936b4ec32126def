//! Files of a run folder: atomic writes, checkpoints as safetensors, TensorBoard events, the lock.

use std::{collections::BTreeMap, fs, sync::atomic::AtomicBool};

use gnr_train::{EventWriter, Existing, Observer, Start, TrainError, next_free, train, write_atomically};

use crate::support::{bytes, run, tiny};

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    write_atomically(&path, b"old").unwrap();
    // The name of the temporary file is taken by a folder, so the write cannot start.
    fs::create_dir(home.path().join("file.partial")).unwrap();
    let error = write_atomically(&path, b"new").unwrap_err().to_string();
    assert!(error.contains("file") && error.contains("cannot write"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    fs::remove_dir(home.path().join("file.partial")).unwrap();
    write_atomically(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    // The target cannot be replaced, so the temporary file is removed.
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert!(write_atomically(&folder, b"x").is_err());
    assert!(!home.path().join("folder.partial").exists());
    let below = path.join("below");
    assert!(write_atomically(&below, b"x").unwrap_err().to_string().contains("below"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_stay() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    // A link to a link, whose file does not exist before the first write.
    symlink("second", at("first")).unwrap();
    symlink("folder/file", at("second")).unwrap();
    for text in ["old", "new"] {
        write_atomically(&at("first"), text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(at("folder/file")).unwrap(), text);
        assert!(at("first").is_symlink() && at("second").is_symlink());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }
    let device = at("device");
    symlink("/dev/null", &device).unwrap();
    write_atomically(&device, b"gone").unwrap();
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device() && device.is_symlink());
    assert_eq!(fs::read_dir(at("folder")).unwrap().count(), 1);
}

#[test]
fn a_checkpoint_is_a_safetensors_file_with_published_names() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[]), home.path()).unwrap();
    let bytes = bytes(home.path(), "last.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort();
    assert_eq!(
        names,
        [
            "0.bias",
            "0.weight",
            "2.bias",
            "2.weight",
            "optimizer.momentum.0.bias",
            "optimizer.momentum.0.weight",
            "optimizer.momentum.2.bias",
            "optimizer.momentum.2.weight"
        ]
    );
    assert_eq!(tensors.tensor("0.weight").unwrap().shape(), [16, 64]);
}

#[test]
fn numbered_folders_are_new() {
    let home = tempfile::tempdir().unwrap();
    let first = next_free(home.path(), "digits").unwrap();
    let second = next_free(home.path(), "digits").unwrap();
    assert!(first.ends_with("digits-1") && second.ends_with("digits-2"));
}

#[test]
fn a_second_process_is_refused() {
    struct Intruder(Option<TrainError>);
    impl Observer for Intruder {
        fn on_start(&mut self, start: &Start<'_>) {
            let again = train(tiny(&[]), start.folder, Existing::Resume, &mut (), &AtomicBool::new(false));
            self.0 = again.err();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut intruder = Intruder(None);
    train(tiny(&[]), home.path(), Existing::Refuse, &mut intruder, &AtomicBool::new(false)).unwrap();
    assert!(matches!(intruder.0, Some(TrainError::Locked { .. })));
}

/// An event file is decoded by the published description of the format.
#[test]
fn event_files_decode() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("events.out.tfevents.0.gnr"), "of before").unwrap();
    let mut writer = EventWriter::create(home.path()).unwrap();
    writer.scalars(300, &[("train/loss".into(), 0.5), ("lr".into(), -2.0)]).unwrap();
    drop(writer);
    let files: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "the older file goes");
    let records = records(&fs::read(&files[0]).unwrap());
    assert_eq!(records.len(), 2);
    let first = fields(&records[0]);
    assert_eq!(first[&3], b"brain.Event:2");
    let event = fields(&records[1]);
    assert_eq!(event[&2], 300u64.to_le_bytes());
    let mut found = Vec::new();
    let mut summary = event[&5].as_slice();
    while !summary.is_empty() {
        let (_, item, rest) = field(summary);
        let item = fields(&item);
        let value = f32::from_le_bytes(item[&2].as_slice().try_into().unwrap());
        found.push((String::from_utf8(item[&1].clone()).unwrap(), value));
        summary = rest;
    }
    assert_eq!(found, [("train/loss".to_owned(), 0.5), ("lr".to_owned(), -2.0)]);
}

#[test]
fn the_events_of_a_run_are_its_epochs() {
    let home = tempfile::tempdir().unwrap();
    run(tiny(&[]), home.path()).unwrap();
    let file = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("tfevents"))
        .unwrap();
    let records = records(&fs::read(file).unwrap());
    assert_eq!(records.len(), 4, "the version and three epochs");
    let text = String::from_utf8_lossy(&records[3]).into_owned();
    for tag in ["train/loss", "val/accuracy", "test/loss", "penalty/gnr", "learning_rate", "grad_norm"] {
        assert!(text.contains(tag), "{tag}");
    }
}

/// Splits a file into records and checks both checksums of each (bit by bit, unlike the writer).
pub(crate) fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
        let data = &bytes[12..12 + length];
        assert_eq!(bytes[12 + length..16 + length], masked(data).to_le_bytes());
        records.push(data.to_vec());
        bytes = &bytes[16 + length..];
    }
    records
}

fn masked(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(crate) fn fields(mut message: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while !message.is_empty() {
        let (number, value, rest) = field(message);
        fields.insert(number, value);
        message = rest;
    }
    fields
}

pub(crate) fn field(message: &[u8]) -> (u64, Vec<u8>, &[u8]) {
    let (key, rest) = varint(message);
    let (value, rest) = match key & 7 {
        0 => {
            let (value, rest) = varint(rest);
            (value.to_le_bytes().to_vec(), rest)
        }
        1 => (rest[..8].to_vec(), &rest[8..]),
        2 => {
            let (length, rest) = varint(rest);
            (rest[..length as usize].to_vec(), &rest[length as usize..])
        }
        5 => (rest[..4].to_vec(), &rest[4..]),
        wire => panic!("wire type {wire}"),
    };
    (key >> 3, value, rest)
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, &bytes[end + 1..])
}
