//! Valid files of every parser, each in the tree of its data set; and damage: bytes, lengths, pieces of other files, operations; and
//! bombs, which say much in few bytes.

use std::cell::Cell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use gnr_data::{Keep, LabelNoise, Noisy, OpenOptions, Part, Resize, open, read_idx, verify};
use tempfile::TempDir;

use crate::trees::{
    cars_tree, cifar_meta, cifar_pickle, cifar_records, cifar100_tree, fixture, food_tree, gunzip, gzip, idx,
    numbered, pets_tree, save_rgb,
};

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Idx,
    /// A part of the data set in the same tree.
    Set(&'static str, Part),
    /// A list of the labels of six images of three classes.
    Labels,
    Verify,
}

/// A valid file.
struct Seed {
    name: &'static str,
    /// The other files of its data set.
    tree: usize,
    path: &'static str,
    reading: Reading,
    bytes: Vec<u8>,
}

pub(crate) struct Corpus {
    seeds: Vec<Seed>,
    trees: Vec<TempDir>,
    /// The seed in whose place a damaged file was put last.
    last: Cell<usize>,
}

/// What pickles, MAT-files, lists and headers are made of.
const PIECES: [&[u8]; 40] = [
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
    b"}b",
    b"(t",
    b"(d",
    b"\x85",
    b"\x86",
    b"I1\n",
    b"S'a\\x00'\n",
    b"V\\u00e9\n",
    b"X\x01\0\0\0a",
    b"\x8c\x01a",
    b"p7\n",
    b"ca\nb\n",
    b"\x8c\x01a\x93",
    b"c_codecs\nencode\n(X\x01\0\0\0aX\x06\0\0\0latin1tR",
    b"cnumpy.core.multiarray\nscalar\n",
    b"ccollections\nOrderedDict\n)R",
    b"\x0e\0\0\0\0\0\0\0",
    b"\x0e\0\0\0\x08\0\0\0",
    b"\x0f\0\0\0",
    b"\n",
    b"0\n",
    b"\"a/1\",",
    b"\xef\xbb\xbf",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0",
    b"\0\0\x08\x03",
];

const NUMBERS: [u64; 12] =
    [0, 1, 2, 7, 8, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Bytes that decompressed contents may take before the rest is not counted.
const MOST: u64 = 1 << 26;

impl Corpus {
    pub(crate) fn gather() -> Self {
        let mut corpus = Self { seeds: Vec::new(), trees: Vec::new(), last: Cell::new(0) };
        let pixels: Vec<u8> = (0..60).collect();
        corpus.tree(|_| ());
        corpus.add("IDX", "a-idx3-ubyte", Reading::Idx, idx(&[3, 4, 5], &pixels));
        corpus.add("IDX in gzip", "a-idx3-ubyte.gz", Reading::Idx, gzip(&idx(&[3, 4, 5], &pixels)));
        corpus.add("gzip", "a.gz", Reading::Verify, [gzip(&pixels), gzip(b"x"), vec![0; 40]].concat());
        let npy = |descr: &str, data: &[u8]| {
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (6,), }}\n");
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
        };
        corpus.add("labels as text", "labels.txt", Reading::Labels, b"# six\n0\n1\n2\r\n0\n1\n2\n".to_vec());
        corpus.add("labels as bytes", "labels.npy", Reading::Labels, npy("|u1", &[0, 1, 2, 0, 1, 2]));
        let big: Vec<u8> = [0u16, 1, 2, 0, 1, 2].into_iter().flat_map(u16::to_be_bytes).collect();
        corpus.add("labels in two bytes", "big.npy", Reading::Labels, npy(">i2", &big));

        corpus.tree(|dir| drop(cifar100_tree(dir)));
        let records = cifar_records(&[&[3, 42]]);
        corpus.add(
            "CIFAR binary",
            "cifar-100-binary/test.bin",
            Reading::Set("cifar100", Part::Test),
            records,
        );
        let names: String = (0..100).map(|class| format!("class {class}\n")).collect();
        let reading = Reading::Set("cifar100", Part::Test);
        corpus.add("CIFAR's names", "cifar-100-binary/fine_label_names.txt", reading, names.into_bytes());

        corpus.tree(|dir| {
            fs::create_dir(dir.join("cifar-10-batches-py")).unwrap();
            fs::write(dir.join("cifar-10-batches-py/test_batch"), cifar_pickle("labels", &[3, 9])).unwrap();
        });
        let reading = Reading::Set("cifar10", Part::Test);
        let batch = "cifar-10-batches-py/test_batch";
        corpus.add("a pickle of Python 2", batch, reading, cifar_pickle("labels", &[3, 9]));
        for name in ["0_list", "1_bytes", "2_scalars", "3_big_endian", "4_array", "5_by_pixel"] {
            let bytes = gunzip(&fixture(&format!("again_{name}.pickle.gz")));
            corpus.add("a pickle of Python 3", batch, reading, bytes);
        }
        let meta = cifar_meta("label_names", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        corpus.add("pickled names", "cifar-10-batches-py/batches.meta", reading, meta);

        corpus.tree(cars_tree);
        let train = Reading::Set("stanford-cars", Part::Train);
        for file in ["cars_train_annos.mat", "cars_meta.mat"] {
            let path = if file == "cars_meta.mat" {
                "stanford_cars/devkit/cars_meta.mat"
            } else {
                "stanford_cars/devkit/cars_train_annos.mat"
            };
            corpus.add("a compressed MAT-file", path, train, fixture(file));
        }
        let test = Reading::Set("stanford-cars", Part::Test);
        let path = "stanford_cars/cars_test_annos_withlabels.mat";
        corpus.add("a MAT-file", path, test, fixture("cars_test_annos_withlabels.mat"));
        corpus.tree(|dir| {
            (1..=3).for_each(|i| save_rgb(&dir.join(format!("car_ims/{i:06}.jpg")), 3, 3, 9));
        });
        corpus.add("one list of all cars", "cars_annos.mat", train, fixture("cars_annos.mat"));

        corpus.tree(pets_tree);
        let list = b"Abyssinian_100 1 1 1\namerican_bulldog_7 2 1 1\nyorkshire_terrier_1 37 1 1\n";
        let reading = Reading::Set("oxford-pets", Part::Train);
        corpus.add("a list of pets", "oxford-iiit-pet/annotations/trainval.txt", reading, list.to_vec());
        corpus.tree(food_tree);
        let reading = Reading::Set("food101", Part::Train);
        let json = b"{\"dish_000\": [\"dish_000/1\"], \"dish_001\": [\"dish_001/1\", \"dish_001/1\"]}";
        corpus.add("a list of dishes in JSON", "food-101/meta/train.json", reading, json.to_vec());
        corpus.tree(|dir| {
            food_tree(dir);
            fs::remove_file(dir.join("food-101/meta/train.json")).unwrap();
        });
        corpus.add(
            "a list of dishes",
            "food-101/meta/train.txt",
            reading,
            b"dish_000/1\ndish_001/1\n".to_vec(),
        );

        let flat = |dir: &Path| {
            (1..=2).for_each(|i| save_rgb(&dir.join(format!("val/ILSVRC2012_val_{i:08}.JPEG")), 3, 3, 4));
        };
        let reading = Reading::Set("imagenet", Part::Test);
        corpus.tree(flat);
        let lines = b"ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG n01440764\n";
        corpus.add("Caffe's list", "val.txt", reading, lines.to_vec());
        corpus.tree(flat);
        let lines = b"ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\nILSVRC2012_val_00000002,n02102040 1 2 3 4\n";
        corpus.add("Kaggle's list", "LOC_val_solution.csv", reading, lines.to_vec());
        corpus.tree(|dir| {
            flat(dir);
            fs::create_dir(dir.join("data")).unwrap();
            fs::write(dir.join("data/meta.mat"), fixture("meta.mat")).unwrap();
        });
        let path = "data/ILSVRC2012_validation_ground_truth.txt";
        corpus.add("the devkit's list", path, reading, b"166\n490\n".to_vec());
        corpus
    }

    fn tree(&mut self, make: impl Fn(&Path)) {
        // In memory where there is such a folder.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        make(dir.path());
        self.trees.push(dir);
    }

    /// A file in the last tree. It is valid: what is read of it is not refused.
    fn add(&mut self, name: &'static str, path: &'static str, reading: Reading, bytes: Vec<u8>) {
        let tree = self.trees.len() - 1;
        self.seeds.push(Seed { name, tree, path, reading, bytes });
        let seed = self.seeds.len() - 1;
        self.put(seed, &self.seeds[seed].bytes);
        assert!(self.read(seed), "{name}");
        // Several seeds may have one path, and some are not there unless it is their turn.
        if self.seeds[seed].reading != Reading::Set("cifar10", Part::Test) {
            return;
        }
        let good = if path.ends_with("test_batch") { cifar_pickle("labels", &[3, 9]) } else { Vec::new() };
        match good.is_empty() {
            true => fs::remove_file(self.path(seed)).unwrap(),
            false => fs::write(self.path(seed), good).unwrap(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seeds.len()
    }

    pub(crate) fn name(&self, seed: usize) -> &'static str {
        self.seeds[seed].name
    }

    fn path(&self, seed: usize) -> PathBuf {
        self.trees[self.seeds[seed].tree].path().join(self.seeds[seed].path)
    }

    /// Puts this file in its place, and the valid files of the tree around it.
    pub(crate) fn put(&self, seed: usize, bytes: &[u8]) {
        // All else is as it was, but for the file that was put before.
        let before = self.last.replace(seed);
        if before != seed && self.seeds[before].tree == self.seeds[seed].tree {
            self.restore(before);
        } else if self.seeds[before].tree != self.seeds[seed].tree {
            let tree = self.seeds[seed].tree;
            (0..self.len())
                .filter(|&other| self.seeds[other].tree == tree)
                .for_each(|other| self.restore(other));
        }
        fs::write(self.path(seed), bytes).unwrap();
    }

    fn restore(&self, seed: usize) {
        fs::write(self.path(seed), &self.seeds[seed].bytes).unwrap();
    }

    /// Whether the file is accepted.
    pub(crate) fn read(&self, seed: usize) -> bool {
        let (path, tree) = (self.path(seed), self.trees[self.seeds[seed].tree].path());
        match self.seeds[seed].reading {
            Reading::Idx => read_idx(&path, 3).is_ok(),
            Reading::Labels => Noisy::new(numbered(6, [1, 2, 2], 3), &LabelNoise::File(path)).is_ok(),
            Reading::Verify => verify(&path, &|_, _| {})
                .is_ok_and(|report| report.damaged.is_empty() && report.unread.is_empty()),
            Reading::Set(name, part) => {
                let resize = (!name.starts_with("cifar")).then(|| Resize::square(2));
                let options = OpenOptions { resize, keep: Keep::OnDisk, ..OpenOptions::dir(tree) };
                open(name, part, &options).is_ok_and(|set| {
                    (0..set.len()).for_each(|index| assert!(set.label(index).unwrap() < set.classes().len()));
                    true
                })
            }
        }
    }

    /// How many bytes this file stands for: its own, those that it decompresses to, and the paths of the photographs that it lists.
    pub(crate) fn justified(&self, seed: usize, bytes: &[u8]) -> usize {
        let inflated = |reader: &mut dyn Read| {
            let mut out = Vec::new();
            // As far as it can be decompressed.
            let _ = reader.take(MOST).read_to_end(&mut out);
            out.len()
        };
        let mut length = bytes.len();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            length += inflated(&mut flate2::read::MultiGzDecoder::new(bytes));
        }
        if matches!(self.seeds[seed].reading, Reading::Set("oxford-pets" | "food101", _)) {
            let folder = self.trees[self.seeds[seed].tree].path().as_os_str().len() + "food-101/images".len();
            length += folder * bytes.iter().filter(|byte| matches!(byte, b'\n' | b'"')).count();
        }
        if self.seeds[seed].path.ends_with(".mat") {
            let word = |at: usize| {
                let bytes = bytes.get(at..at + 4)?;
                Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
            };
            let mut at = 128;
            while let (Some(kind), Some(size)) = (word(at), word(at + 4)) {
                let Some(data) = bytes.get(at + 8..).and_then(|rest| rest.get(..size)) else { break };
                if kind == 15 {
                    length += inflated(&mut flate2::read::ZlibDecoder::new(data));
                }
                at += 8 + size;
            }
        }
        length
    }

    /// Number of a seed, and a file that is mostly not as it should be.
    pub(crate) fn file(&self, random: &mut Random) -> (usize, Vec<u8>) {
        let seed = random.below(self.len());
        let bytes = match random.below(40) {
            0 => self.seeds[seed].bytes.clone(),
            1 => self.bomb(seed, random),
            // The checksum would tell of any damage.
            2..=20 if self.seeds[seed].path.ends_with(".gz") => {
                gzip(&self.damaged(gunzip(&self.seeds[seed].bytes), random))
            }
            _ => self.damaged(self.seeds[seed].bytes.clone(), random),
        };
        (seed, bytes)
    }

    /// A place in a file; the structure of a batch of images is at its ends.
    fn place(bytes: &[u8], random: &mut Random) -> usize {
        match random.below(4) {
            0 => random.below(bytes.len()),
            1 => bytes.len() - 1 - random.below(bytes.len().min(120)),
            _ => random.below(bytes.len().min(400)),
        }
    }

    fn damaged(&self, mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
        let most = 1 + random.below(6);
        for _ in 0..=random.below(most) {
            if bytes.is_empty() {
                return bytes;
            }
            let at = Self::place(&bytes, random);
            let span = at..(at + random.below(24)).min(bytes.len());
            match random.below(11) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at] = bytes[at].wrapping_add(1).wrapping_sub(2 * (random.below(2) as u8)),
                3 => drop(bytes.drain(span)),
                4 => {
                    let piece = bytes[span].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                5 => bytes.truncate(at),
                6 => {
                    let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                    let size = 1 << random.below(4);
                    bytes.iter_mut().skip(at).zip(&number[..size]).for_each(|(byte, &new)| *byte = new);
                }
                7 => {
                    let other = &self.seeds[random.below(self.len())].bytes;
                    let from = random.below(other.len());
                    let piece = other[from..(from + random.below(64)).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                // Digits of a header or a list.
                8 => {
                    let number = NUMBERS[random.below(NUMBERS.len())].to_string();
                    bytes.splice(span, number.into_bytes());
                }
                _ => {
                    let piece = PIECES[random.below(PIECES.len())].to_vec();
                    let end = if random.below(2) == 0 { at } else { (at + piece.len()).min(bytes.len()) };
                    bytes.splice(at..end, piece);
                }
            }
        }
        bytes
    }

    /// One to three pieces again and again, within the beginning and the end of a valid file.
    fn bomb(&self, seed: usize, random: &mut Random) -> Vec<u8> {
        let valid = &self.seeds[seed].bytes;
        let mut piece = Vec::new();
        for _ in 0..=random.below(3) {
            piece.extend_from_slice(PIECES[random.below(PIECES.len())]);
        }
        let most = if random.below(8) == 0 { 3 << 20 } else { 1 << 16 };
        let times = (1 << random.below(20)).min(most / piece.len());
        let many = piece.repeat(times);
        let start = match random.below(4) {
            0 => 2,
            1 => 128,
            _ => random.below(200),
        };
        let (before, after) = valid.split_at(start.min(valid.len()));
        if self.seeds[seed].path.ends_with(".mat") && random.below(2) == 0 {
            return mat_bomb(before, &many, random);
        }
        let whole = [before, &many, after].concat();
        if self.seeds[seed].path.ends_with(".gz") && random.below(2) == 0 { gzip(&whole) } else { whole }
    }
}

/// A cell array of `parts`, whatever they are, with a number of them that may be true.
fn mat_bomb(before: &[u8], parts: &[u8], random: &mut Random) -> Vec<u8> {
    let word = |number: usize| (number as u32).to_le_bytes();
    let count = match random.below(3) {
        0 => parts.len() / 8,
        1 => parts.len() / 40,
        _ => random.next() as usize,
    };
    let flags = [word(6), word(8), word(1 + random.below(2)), word(0)].concat();
    let dims = [word(5), word(8), word(1), word(count)].concat();
    let name = [word(1), word(0)].concat();
    let body = [&flags[..], &dims, &name, parts].concat();
    let mut header = before.to_vec();
    header.resize(128, 0);
    header[124..].copy_from_slice(b"\0\x01IM");
    [&header[..], &word(14), &word(body.len()), &body].concat()
}
