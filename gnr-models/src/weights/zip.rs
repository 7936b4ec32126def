//! ZIP archives as PyTorch writes them: members stored as they are, found through the directory at the end.
//!
//! The directory is kept as it is in the file, with a small entry for each member, so that memory is in proportion to
//! the file. A general reader takes several times that for archives made of names. Only the needs of `torch.load` are
//! covered.
//!
//! # References
//! PKWARE, *.ZIP File Format Specification* (APPNOTE.TXT), 4.3.7, 4.3.12 to 4.3.16, 4.5.3.

use std::{fmt, io};

use gnr_pickle::{Budget, Exhausted};

use super::data::Data;

/// The reasons why an archive cannot be used.
#[derive(Debug)]
pub(super) enum ZipError {
    Io(io::Error),
    /// There is no directory at the end: the archive was cut.
    NoDirectory,
    /// The archive contradicts itself.
    Damaged(String),
    /// The archive is well formed, but of a kind that is not read.
    Unsupported(String),
    TooLarge,
}

impl fmt::Display for ZipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoDirectory => f.write_str(
                "the directory at the end is missing: the file was cut; download or copy it again",
            ),
            Self::Damaged(what) | Self::Unsupported(what) => f.write_str(what),
            Self::TooLarge => f.write_str("it has more members than its size justifies"),
        }
    }
}

impl From<io::Error> for ZipError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Exhausted> for ZipError {
    fn from(Exhausted: Exhausted) -> Self {
        Self::TooLarge
    }
}

type Result<T> = std::result::Result<T, ZipError>;

/// A member, as the directory describes it.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Range of the name in the directory.
    name: (u32, u32),
    /// Offset of the member's local header in the file.
    header: u64,
    length: u64,
    stored_length: u64,
    /// Checksum of the bytes; 0 where PyTorch was told not to compute it.
    crc: u32,
    method: u16,
    flags: u16,
}

/// An archive's directory.
#[derive(Debug)]
pub(super) struct Archive {
    directory: Vec<u8>,
    /// Sorted by name.
    members: Vec<Member>,
    /// Name of the member that comes first in the file.
    first: (u32, u32),
}

/// The number of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry(u32);

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
/// Length of the end record without its comment, in bytes.
const END_LENGTH: u64 = 22;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The end record: number of members, length and place of the directory.
struct End {
    members: u64,
    length: u64,
    start: u64,
}

impl End {
    fn find(data: &Data) -> Result<Self> {
        // A comment of up to 64 KiB may follow.
        let tail_length = data.len().min(END_LENGTH + u64::from(u16::MAX));
        let tail_start = data.len() - tail_length;
        let tail = data.read(tail_start, tail_length)?;
        let is_end = |at: &usize| {
            tail.get(*at..*at + 4) == Some(&END)
                && u16_at(&tail, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) == tail.len())
        };
        // Bytes after the end record are ignored, as in `torch.load`, if the directory lies before the record.
        let is_earlier_end = |at: &usize| {
            let place = tail_start + *at as u64;
            let directory = u32_at(&tail, at + 16).zip(u32_at(&tail, at + 12));
            tail.get(*at..*at + 4) == Some(&END)
                && directory.is_some_and(|(start, length)| u64::from(start) + u64::from(length) <= place)
        };
        let last = tail.len().checked_sub(END_LENGTH as usize).ok_or(ZipError::NoDirectory)?;
        let at = (0..=last).rev().find(is_end).or_else(|| (0..=last).rev().find(is_earlier_end));
        let at = at.ok_or(ZipError::NoDirectory)?;
        let fields = (u16_at(&tail, at + 10), u32_at(&tail, at + 12), u32_at(&tail, at + 16));
        let (Some(members), Some(length), Some(start)) = fields else { return Err(ZipError::NoDirectory) };
        let short = Self { members: members.into(), length: length.into(), start: start.into() };
        // Archives of more than 4 GiB have a 64-bit end record, whose locator precedes this one.
        let Some(locator) = at.checked_sub(20).and_then(|start| tail.get(start..at)) else {
            return Ok(short);
        };
        if locator.get(..4) != Some(&LOCATOR_64) {
            return Ok(short);
        }
        let damaged =
            || ZipError::Damaged("the record of its directory is not where it is said to be".into());
        let record = u64_at(locator, 8).ok_or_else(damaged)?;
        let record = data.read(record, 56).map_err(|_| damaged())?;
        if record.get(..4) != Some(&END_64) {
            return Err(damaged());
        }
        match (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48)) {
            (Some(members), Some(length), Some(start)) => Ok(Self { members, length, start }),
            _ => Err(damaged()),
        }
    }
}

impl Archive {
    pub(super) fn open(data: &Data, budget: &mut Budget) -> Result<Self> {
        let end = End::find(data)?;
        let damaged = |what: &str| ZipError::Damaged(what.into());
        if end.start.checked_add(end.length).is_none_or(|last| last > data.len()) {
            return Err(damaged("its directory lies outside the file"));
        }
        let length = u32::try_from(end.length).map_err(|_| damaged("its directory has more than 4 GiB"))?;
        budget.take(length as usize)?;
        let directory = data.read(end.start, end.length)?.into_owned();
        let mut members: Vec<Member> = Vec::new();
        let mut at = 0;
        for number in 0..end.members {
            let (member, next) = Member::parse(&directory, at)
                .ok_or_else(|| ZipError::Damaged(format!("entry {number} of its directory is not whole")))?;
            at = next;
            budget.push(&mut members, member)?;
        }
        let first = members.iter().min_by_key(|member| member.header).map_or((0, 0), |member| member.name);
        let name = |member: &Member| directory.get(member.name.0 as usize..member.name.1 as usize);
        members.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
        if let Some(pair) = members.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])) {
            let name = String::from_utf8_lossy(name(&pair[0]).unwrap_or_default());
            return Err(ZipError::Damaged(format!("two members are named `{name}`")));
        }
        Ok(Self { directory, members, first })
    }

    fn text(&self, range: (u32, u32)) -> &[u8] {
        self.directory.get(range.0 as usize..range.1 as usize).unwrap_or_default()
    }

    /// Names of all members, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(|member| self.text(member.name))
    }

    /// Name of the member that was written first.
    pub(super) fn first(&self) -> &[u8] {
        self.text(self.first)
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Entry> {
        let found = self.members.binary_search_by(|member| self.text(member.name).cmp(name)).ok()?;
        u32::try_from(found).ok().map(Entry)
    }

    fn member(&self, entry: Entry) -> Option<(&Member, String)> {
        let member = self.members.get(entry.0 as usize)?;
        Some((member, String::from_utf8_lossy(self.text(member.name)).into_owned()))
    }

    /// Length of a member.
    pub(super) fn length(&self, entry: Entry) -> u64 {
        self.members.get(entry.0 as usize).map_or(0, |member| member.length)
    }

    /// Offset in the file at which the bytes of a member start.
    pub(super) fn start(&self, data: &Data, entry: Entry) -> Result<u64> {
        let Some((member, name)) = self.member(entry) else {
            return Err(ZipError::Damaged("a member is missing".into()));
        };
        if member.flags & 1 != 0 {
            return Err(ZipError::Unsupported(format!("its member `{name}` is encrypted")));
        }
        if member.method != 0 {
            return Err(ZipError::Unsupported(format!(
                "its member `{name}` is compressed (method {}), which torch.save never does",
                member.method
            )));
        }
        if member.length != member.stored_length {
            return Err(ZipError::Damaged(format!(
                "its member `{name}` has two lengths, {} and {}",
                member.length, member.stored_length
            )));
        }
        let lost = || ZipError::Damaged(format!("its member `{name}` is not where the directory says"));
        let header = data.read(member.header, 30).map_err(|_| lost())?;
        let (Some(name_length), Some(extra)) = (u16_at(&header, 26), u16_at(&header, 28)) else {
            return Err(lost());
        };
        let start = member.header + 30 + u64::from(name_length) + u64::from(extra);
        if header.get(..4) != Some(&LOCAL)
            || start.checked_add(member.length).is_none_or(|end| end > data.len())
        {
            return Err(lost());
        }
        Ok(start)
    }

    /// Compares a member with its checksum, where it has one.
    pub(super) fn verify(&self, data: &Data, entry: Entry) -> Result<()> {
        let start = self.start(data, entry)?;
        let Some((member, name)) = self.member(entry).filter(|(member, _)| member.crc != 0) else {
            return Ok(());
        };
        const CHUNK: u64 = 1 << 18;
        let mut hasher = crc32fast::Hasher::new();
        let mut done = 0;
        while done < member.length {
            let length = CHUNK.min(member.length - done);
            hasher.update(&data.read(start + done, length)?);
            done += length;
        }
        let found = hasher.finalize();
        if found == member.crc {
            return Ok(());
        }
        Err(ZipError::Damaged(format!(
            "the bytes of its member `{name}` were altered: their checksum is {found:08x}, {:08x} was written",
            member.crc
        )))
    }
}

impl Member {
    /// Parses the entry at offset `at` of a directory; also returns the offset of the next entry.
    fn parse(directory: &[u8], at: usize) -> Option<(Self, usize)> {
        let entry = directory.get(at..)?;
        if entry.get(..4)? != CENTRAL {
            return None;
        }
        let [name, extra, comment] =
            [28, 30, 32].map(|field| u16_at(entry, field).map_or(usize::MAX, usize::from));
        let after_name = 46usize.checked_add(name)?;
        let fields = entry.get(after_name..after_name.checked_add(extra)?)?;
        let next = at.checked_add(after_name)?.checked_add(extra)?.checked_add(comment)?;
        let mut member = Self {
            name: (u32::try_from(at + 46).ok()?, u32::try_from(at.checked_add(after_name)?).ok()?),
            header: u32_at(entry, 42)?.into(),
            length: u32_at(entry, 24)?.into(),
            stored_length: u32_at(entry, 20)?.into(),
            crc: u32_at(entry, 16)?,
            method: u16_at(entry, 10)?,
            flags: u16_at(entry, 8)?,
        };
        member.widen(fields)?;
        (next <= directory.len()).then_some((member, next))
    }

    /// Reads the numbers that did not fit 32 bits. They are in an extra field, in this order.
    fn widen(&mut self, mut fields: &[u8]) -> Option<()> {
        const FULL: u64 = u32::MAX as u64;
        while let (Some(kind), Some(length)) = (u16_at(fields, 0), u16_at(fields, 2)) {
            let mut field = fields.get(4..4 + usize::from(length))?;
            fields = &fields[4 + usize::from(length)..];
            if kind != 1 {
                continue;
            }
            for number in [&mut self.length, &mut self.stored_length, &mut self.header] {
                if *number == FULL {
                    *number = u64_at(field, 0)?;
                    field = &field[8..];
                }
            }
        }
        Some(())
    }
}
