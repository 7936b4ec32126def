//! Damage: bytes, lengths, members of archives, operations of pickles; and bombs, which say much in few bytes.

use std::path::Path;

use gnr_fuzz::{Random, damage};

use crate::support::{self, Pickle, checkpoint, floats, legacy};

fn one_of<'a, T: ?Sized>(random: &mut Random, items: &[&'a T]) -> &'a T {
    items[random.below(items.len())]
}

enum Valid {
    Bytes(Vec<u8>),
    /// Members of an archive, whose checksums are made anew.
    Archive(Vec<(Vec<u8>, Vec<u8>)>),
}

/// Valid files of every kind.
pub(crate) struct Corpus {
    files: Vec<Valid>,
    /// What a part of may come into another file: files, and members of archives.
    parts: Vec<Vec<u8>>,
}

/// What pickles are made of, and what in them has a meaning for PyTorch.
const PIECES: [&[u8]; 46] = [
    b"N",
    b"]",
    b")",
    b"}",
    b"(",
    b"2",
    b"0",
    b"1",
    b"K\x01",
    b"h\x01",
    b"q\x01",
    b"\x94",
    b"]a",
    b"](ee",
    b")R",
    b")\x81",
    b"}b",
    b"(t",
    b"(NNu",
    b"(d",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x8f(\x90",
    b"(\x91",
    b"I1\n",
    b"L1L\n",
    b"S'a'\n",
    b"Va\n",
    b"X\x01\0\0\0a",
    b"\x8c\x01a",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"r\xff\xff\xff\xff",
    b"p7\n",
    b"ca\nb\n",
    b"\x8c\x01a\x93",
    b"Q",
    b"Pa\n",
    b"(ia\nb\n",
    b"(ca\nb\no",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ccollections\nOrderedDict\n)R",
    b"X\x0b\0\0\0_parameters}sX\x08\0\0\0_modules}s",
    b"\x95\0\0\0\0\0\0\0\0",
    b"\x82\x01",
];

impl Corpus {
    pub(crate) fn gather() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut files = Vec::new();
        for folder in ["fixtures", "data"] {
            let mut paths: Vec<_> =
                std::fs::read_dir(tests.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            let weights =
                |path: &Path| path.extension().is_some_and(|ending| ending == "pth" || ending == "pt");
            files.extend(
                paths.into_iter().filter(|path| weights(path)).map(|path| std::fs::read(path).unwrap()),
            );
        }
        assert!(files.len() > 15, "the files of tests/data and tests/fixtures");
        let weights = Pickle::beside(|pickle| pickle.text("args").object("argparse", "Namespace", b"}b"));
        files.push(checkpoint(&weights, &[("0", &floats(4))]));
        files.push(legacy(&weights, &[("0", 4, &floats(4))]));
        files.push(b"(dp0\nS'fc.weight'\np1\n(lp2\nI1\naF2.5\nas.".to_vec());
        for header in [
            r#"{"fc.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"a":"b"}}"#,
            r#"{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"I64","shape":[0,3],"data_offsets":[2,2]},"c":{"dtype":"F8_E4M3","shape":[14],"data_offsets":[2,16]}}"#,
        ] {
            files.push([&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0x3c; 16]].concat());
        }
        let mut valid: Vec<_> = files.iter().filter_map(|file| members(file)).map(Valid::Archive).collect();
        valid.extend(files.into_iter().map(Valid::Bytes));
        let parts = valid.iter().map(|file| match file {
            Valid::Bytes(bytes) => bytes.clone(),
            Valid::Archive(members) => members[0].1.clone(),
        });
        Self { parts: parts.collect(), files: valid }
    }

    /// A file that is not as it should be, mostly.
    pub(crate) fn file(&self, execution: u64) -> Vec<u8> {
        let random = &mut Random::new(execution);
        // Bombs take a thousand times as long as the others: many among the first, a few among the rest.
        if random.below(if execution < 10_000 { 100 } else { 2000 }) == 0 {
            return bomb(random);
        }
        match &self.files[random.below(self.files.len())] {
            Valid::Bytes(bytes) => self.damaged(bytes.clone(), random),
            Valid::Archive(members) => {
                let mut members = members.clone();
                for _ in 0..=random.below(2) {
                    let index = random.below(members.len());
                    match random.below(10) {
                        0 => drop(members.remove(index)),
                        1 => members[index].0 = self.damaged(members[index].0.clone(), random),
                        2 => {
                            let other = random.below(members.len());
                            members[index].1 = members[other].1.clone();
                        }
                        // The structure is in the pickles.
                        _ => {
                            let pickle = members.iter().position(|(name, _)| name.ends_with(b".pkl"));
                            let index = if random.below(4) > 0 { pickle.unwrap_or(index) } else { index };
                            members[index].1 = self.damaged(members[index].1.clone(), random);
                        }
                    }
                    if members.is_empty() {
                        break;
                    }
                }
                support::zip(&members)
            }
        }
    }

    fn damaged(&self, bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
        damage(bytes, random, &PIECES, &self.parts)
    }
}

/// One to three pieces again and again, in a container of some kind.
fn bomb(random: &mut Random) -> Vec<u8> {
    let mut piece = Vec::new();
    for _ in 0..=random.below(3) {
        piece.extend_from_slice(one_of(random, &PIECES));
    }
    // Few are so large that the constant part of the bound is nothing beside the file.
    let (power, most) = if random.below(4) == 0 { (20, 3 << 20) } else { (14, 1 << 18) };
    let times = (1 << random.below(power + 1)).min(most / piece.len());
    let start: &[u8] = one_of(
        random,
        &[&b"\x80\x02"[..], b"\x80\x02]q\x01(", b"\x80\x02}q\x01(", b"\x80\x02ca\nb\n)\x81q\x01}("],
    );
    let end: &[u8] = one_of(random, &[&b"."[..], b"e.", b"u.", b"ub.", b"t."]);
    let pickle = [start, &piece.repeat(times), end].concat();
    match random.below(5) {
        0 => pickle,
        1 => legacy(&pickle, &[]),
        2 => tensors(random),
        3 => header(random),
        _ => checkpoint(&pickle, &[("0", &floats(4))]),
    }
}

/// One tensor under many names.
fn tensors(random: &mut Random) -> Vec<u8> {
    let start = Pickle::new().op(b"}(").text("x").tensor(4, 0, &[2], &[1]).op(b"q\x05");
    let many = (0..1u32 << random.below(17))
        .fold(start, |pickle, i| pickle.op(b"J").op(&i.to_le_bytes()).op(b"h\x05"));
    checkpoint(&many.op(b"u").end(), &[("0", &floats(4))])
}

/// A header of many small entries.
fn header(random: &mut Random) -> Vec<u8> {
    let axes = one_of(
        random,
        &["", "0", "1,1,1,1,1,1,1,1", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"],
    );
    let size = usize::from(!axes.contains('0'));
    let entries: Vec<_> = (0..1usize << random.below(16))
        .map(|i| match random.below(40) {
            0 => format!(r#""{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}}"#, "0,".repeat(100)),
            _ => format!(
                r#""{i}":{{"dtype":"U8","shape":[{axes}],"data_offsets":[{},{}]}}"#,
                i * size,
                (i + 1) * size
            ),
        })
        .collect();
    let notes: Vec<_> = (0..1usize << random.below(13)).map(|i| format!(r#""{i}":"""#)).collect();
    let header = match random.below(2) {
        0 => format!("{{{}}}", entries.join(",")),
        _ => format!(r#"{{"__metadata__":{{{}}}}}"#, notes.join(",")),
    };
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; size * entries.len()]].concat()
}

/// The members of an archive, unless its numbers are those of a large one.
fn members(file: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let number = |at: usize, size: usize| -> usize {
        file[at..at + size].iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
    };
    if !file.starts_with(b"PK\x03\x04") {
        return None;
    }
    let end = file.len() - 22;
    let mut at = number(end + 16, 4);
    let mut members = Vec::new();
    for _ in 0..number(end + 10, 2) {
        let (length, name, extra, header) =
            (number(at + 24, 4), number(at + 28, 2), number(at + 30, 2), number(at + 42, 4));
        if header > file.len() {
            return None;
        }
        let start = header + 30 + number(header + 26, 2) + number(header + 28, 2);
        members.push((file[at + 46..at + 46 + name].to_vec(), file.get(start..start + length)?.to_vec()));
        at += 46 + name + extra + number(at + 32, 2);
    }
    Some(members)
}
