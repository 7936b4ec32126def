//! Valid files for every parser, each in the tree of its data set, and damaged versions of these files.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use gnr_data::{Keep, LabelNoise, Noisy, OpenOptions, Part, Resize, open, read_idx, verify};
use gnr_fuzz::{Random, bomb, damage};
use tempfile::TempDir;

use crate::trees::{
    cars_tree, cifar_meta, cifar_pickle, cifar_records, cifar100_tree, fixture, food_tree, gunzip, gzip, idx,
    numbered, pets_tree, save_rgb,
};
use crate::words;

/// The way in which a file is read.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Idx,
    /// As a file of a part of the data set in its tree.
    Set(&'static str, Part),
    /// As a list of the labels of six images of three classes.
    Labels,
    Verify,
}

/// A valid file.
struct Seed {
    name: &'static str,
    /// Index of the tree with the other files of its data set.
    tree: usize,
    path: &'static str,
    reading: Reading,
    bytes: Vec<u8>,
}

pub(crate) struct Corpus {
    seeds: Vec<Seed>,
    trees: Vec<TempDir>,
    pieces: Vec<&'static [u8]>,
    /// The seed whose place the last damaged file took.
    last: Cell<usize>,
}

/// Words of all formats.
const PIECES: [&[&[u8]]; 5] = [words::HEADERS, words::PICKLE, words::MAT, words::NPY, words::LISTS];

impl Corpus {
    pub(crate) fn gather() -> Self {
        let mut corpus =
            Self { seeds: Vec::new(), trees: Vec::new(), pieces: PIECES.concat(), last: Cell::new(0) };
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
        // The folder is in memory where the system offers that.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        make(dir.path());
        self.trees.push(dir);
    }

    /// Adds a file to the last tree. The file must be valid: reading it must succeed.
    fn add(&mut self, name: &'static str, path: &'static str, reading: Reading, bytes: Vec<u8>) {
        let tree = self.trees.len() - 1;
        self.seeds.push(Seed { name, tree, path, reading, bytes });
        let seed = self.seeds.len() - 1;
        self.put(seed, &self.seeds[seed].bytes);
        assert!(self.read(seed), "{name}");
        // Several seeds may share a path, and some are absent except in their turn.
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
        // All other files are unchanged, except for the one that was put before.
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

    /// Reads the file and returns whether it is accepted.
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

    /// Number of bytes that justify memory: those of the file, those that it decompresses to, and the paths of the
    /// photographs that it lists.
    pub(crate) fn justified(&self, seed: usize, bytes: &[u8]) -> usize {
        let mat = self.seeds[seed].path.ends_with(".mat");
        let mut length = if mat { words::mat_decompressed(bytes) } else { words::gunzipped(bytes) };
        if matches!(self.seeds[seed].reading, Reading::Set("oxford-pets" | "food101", _)) {
            let folder = self.trees[self.seeds[seed].tree].path().as_os_str().len() + "food-101/images".len();
            length += folder * bytes.iter().filter(|byte| matches!(byte, b'\n' | b'"')).count();
        }
        length
    }

    /// Draws a seed and a file that is mostly damaged.
    pub(crate) fn file(&self, random: &mut Random) -> (usize, Vec<u8>) {
        let seed = random.below(self.len());
        let bytes = match random.below(40) {
            0 => self.seeds[seed].bytes.clone(),
            1 => self.bomb(seed, random),
            // The checksum would detect any damage.
            2..=20 if self.seeds[seed].path.ends_with(".gz") => {
                gzip(&self.damaged(gunzip(&self.seeds[seed].bytes), random))
            }
            _ => self.damaged(self.seeds[seed].bytes.clone(), random),
        };
        (seed, bytes)
    }

    fn damaged(&self, bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
        let others: Vec<&[u8]> = self.seeds.iter().map(|seed| &seed.bytes[..]).collect();
        damage(bytes, random, &self.pieces, &others)
    }

    /// Repeats one to three pieces again and again, between the beginning and the end of a valid file.
    fn bomb(&self, seed: usize, random: &mut Random) -> Vec<u8> {
        let most = if random.below(8) == 0 { 3 << 20 } else { 1 << 16 };
        let start = match random.below(4) {
            0 => 2,
            1 => 128,
            _ => random.below(200),
        };
        let valid = &self.seeds[seed].bytes;
        if self.seeds[seed].path.ends_with(".mat") && random.below(2) == 0 {
            let parts = bomb(&[], 0, most, random, &self.pieces);
            return mat_bomb(&valid[..start.min(valid.len())], &parts, random);
        }
        let whole = bomb(valid, start, most, random, &self.pieces);
        if self.seeds[seed].path.ends_with(".gz") && random.below(2) == 0 { gzip(&whole) } else { whole }
    }
}

/// A cell array of arbitrary `parts`, with a number of them that may be true.
fn mat_bomb(before: &[u8], parts: &[u8], random: &mut Random) -> Vec<u8> {
    let word = |number: usize| (number as u32).to_le_bytes();
    let count = match random.below(3) {
        0 => parts.len() / 8,
        1 => parts.len() / 40,
        _ => random.word() as usize,
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
