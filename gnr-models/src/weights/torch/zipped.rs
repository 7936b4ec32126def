//! `torch.save` since PyTorch 1.6, and TorchScript: an archive with a pickle and a member for each storage.

use std::{collections::HashSet, sync::Mutex};

use gnr_pickle::{Budget, Malformed, Problem, parse};

use super::{
    read::{Checkpoint, Container},
    walk::{self, Found},
};
use crate::weights::{
    WeightsError,
    data::Data,
    file::Format,
    kind,
    zip::{Archive, Entry, ZipError},
};

/// Opens an archive.
pub(in crate::weights) fn open(
    name: &str,
    data: &Data,
    budget: &mut Budget,
) -> Result<Checkpoint, WeightsError> {
    let told = |error| told(name, data, error);
    let archive = Archive::open(data, budget).map_err(told)?;
    let Some(folder) = folder(&archive) else {
        return Err(kind::other_archive(name, data.len(), &archive));
    };
    let find = |member: &str| archive.find(&[&folder, member.as_bytes()].concat());
    let scripted = find("constants.pkl").is_some();
    let big_endian = match find("byteorder") {
        Some(entry) => match &*content(&archive, data, entry).map_err(told)? {
            b"little" => false,
            b"big" => true,
            other => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(told(ZipError::Damaged(format!(
                    "its byte order is `{other}`, expected little or big"
                ))));
            }
        },
        None => false,
    };
    let mut found = Found::default();
    for (member, storages, root) in [("data.pkl", "data/", ""), ("constants.pkl", "constants/", "constants")]
    {
        let Some(entry) = find(member) else { continue };
        let pickle = content(&archive, data, entry).map_err(told)?;
        let read = parse(&pickle, budget).map_err(|malformed| match malformed {
            Malformed { problem: Problem::TooLarge, .. } => ZipError::TooLarge,
            malformed => ZipError::Damaged(format!("its `{member}`: {malformed}")),
        });
        let mut read =
            read.and_then(|pickle| Ok(walk::walk(&pickle, scripted, root, budget)?)).map_err(told)?;
        for (_, tensor) in &mut read.tensors {
            tensor.storage.key.insert_str(0, storages);
        }
        if found.tensors.is_empty() && found.foreign.is_empty() {
            found = read;
        } else {
            found.foreign.extend(read.foreign);
            found.tensors.extend(read.tensors);
        }
    }
    let format = if scripted { Format::TorchScript } else { Format::TorchZip };
    let container = Container::Zip { archive, folder, big_endian, verified: Mutex::new(HashSet::new()) };
    Ok(Checkpoint::new(format, found, container))
}

/// The folder that holds `data.pkl`, with its slash: that of the first member, as in `torch.load`, or else the first in
/// the order of names.
fn folder(archive: &Archive) -> Option<Vec<u8>> {
    let within = |name: &[u8]| {
        let folder = name.split_inclusive(|&byte| byte == b'/').next()?;
        archive
            .find(&[folder, b"data.pkl"].concat())
            .map(|_| folder.to_vec())
            .filter(|_| folder.ends_with(b"/"))
    };
    within(archive.first()).or_else(|| {
        let mut names = archive.names().filter(|name| name.ends_with(b"/data.pkl"));
        names.find_map(within)
    })
}

fn content<'d>(
    archive: &Archive,
    data: &'d Data,
    entry: Entry,
) -> Result<std::borrow::Cow<'d, [u8]>, ZipError> {
    archive.verify(data, entry)?;
    Ok(data.read(archive.start(data, entry)?, archive.length(entry))?)
}

fn told(name: &str, data: &Data, error: ZipError) -> WeightsError {
    let (file, length) = (name.to_owned(), data.len());
    match error {
        ZipError::Io(source) => WeightsError::Io { file, source },
        ZipError::TooLarge => WeightsError::TooManyObjects { file, length },
        ZipError::Unsupported(what) => WeightsError::Unsupported {
            file,
            what,
            advice: "load it with PyTorch, and torch.save it again".into(),
        },
        error => {
            let format = if matches!(error, ZipError::NoDirectory) { "ZIP" } else { "PyTorch" };
            WeightsError::Incomplete { file, format, length, problem: error.to_string() }
        }
    }
}
