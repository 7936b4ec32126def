//! Writers of small data sets in the published layouts.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gnr_data::{Dataset, Image, InMemory};

/// A data set whose images all differ: `len` images of `shape`, with labels 0, 1, …, classes − 1, 0, 1, …
pub(crate) fn numbered(len: usize, shape: [usize; 3], classes: usize) -> Arc<dyn Dataset> {
    let size: usize = shape.iter().product();
    // With 1 + … no pixel is 0, so that padding can be told from the image.
    let pixels = (0..len * size).map(|i| 1 + (i * 31 % 255) as u8).collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    let labels = (0..len).map(|index| index % classes).collect();
    Arc::new(InMemory::new("numbered", shape, names, pixels, labels).unwrap())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut out).unwrap();
    out
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Writes MNIST's files for `counts` 2x3 images in `dir`, gzipped when `zipped`.
pub(crate) fn mnist_tree(dir: &Path, counts: [usize; 2], zipped: bool) {
    for (stem, count) in ["train", "t10k"].into_iter().zip(counts) {
        let pixels: Vec<u8> = (0..count * 6).map(|i| i as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        let files = [
            ("images-idx3", idx(&[count as u32, 2, 3], &pixels)),
            ("labels-idx1", idx(&[count as u32], &labels)),
        ];
        for (kind, bytes) in files {
            match zipped {
                true => fs::write(dir.join(format!("{stem}-{kind}-ubyte.gz")), gzip(&bytes)).unwrap(),
                false => fs::write(dir.join(format!("{stem}-{kind}-ubyte")), bytes).unwrap(),
            }
        }
    }
}

/// CIFAR records: the bytes `labels[i]`, then 3,072 pixels of value `i`.
pub(crate) fn cifar_records(labels: &[&[u8]]) -> Vec<u8> {
    labels.iter().enumerate().flat_map(|(i, label)| [*label, &[i as u8; 3072]].concat()).collect()
}

/// Writes CIFAR-10's binary version to `dir/cifar-10-batches-bin`, with two records in each file.
pub(crate) fn cifar10_tree(dir: &Path) -> PathBuf {
    let folder = dir.join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    for batch in 1..=5 {
        fs::write(folder.join(format!("data_batch_{batch}.bin")), cifar_records(&[&[batch], &[9]])).unwrap();
    }
    fs::write(folder.join("test_batch.bin"), cifar_records(&[&[0], &[3]])).unwrap();
    folder
}

/// Writes CIFAR-100's binary version to `dir/cifar-100-binary`.
pub(crate) fn cifar100_tree(dir: &Path) -> PathBuf {
    let folder = dir.join("cifar-100-binary");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train.bin"), cifar_records(&[&[19, 99], &[0, 1], &[4, 0]])).unwrap();
    fs::write(folder.join("test.bin"), cifar_records(&[&[3, 42]])).unwrap();
    folder
}

/// Saves a lossless RGB image whose pixel (x, y) is (x, y, `blue`).
pub(crate) fn save_rgb(path: &Path, width: u32, height: u32, blue: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, blue])).save(path).unwrap();
}

/// The reference image of the golden tests, which any language can compute.
pub(crate) fn picture(height: usize, width: usize) -> Image<'static> {
    let pixel = |c: usize, y: usize, x: usize| {
        (x * x / 7 + 3 * y * x + 91 * y + 53 * c * (x + 2 * y)) as u8 // modulo 256
    };
    let pixels = (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| pixel(c, y, x))));
    Image { channels: 3, height, width, pixels: pixels.collect::<Vec<_>>().into() }
}

/// The 64-bit FNV-1a hash of bytes.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Writes ImageNet as it is usually arranged: `{train,val}/{n01440764,n02102040}/*.JPEG` of several sizes.
pub(crate) fn imagenet_tree(dir: &Path) {
    for part in ["train", "val"] {
        for (k, wnid) in ["n01440764", "n02102040"].into_iter().enumerate() {
            save_rgb(&dir.join(part).join(wnid).join(format!("{wnid}_{k}.JPEG")), 40 + k as u32, 32, 90);
        }
    }
}

/// The contents of a file in `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// Writes EMNIST's files of one arrangement: 3 + 2 images 2x3, labels from `first`.
pub(crate) fn emnist_tree(dir: &Path, name: &str, first: u8) {
    fs::create_dir_all(dir.join("gzip")).unwrap();
    for (part, count) in [("train", 3u8), ("test", 2)] {
        let pixels: Vec<u8> = (0..count * 6).collect();
        let labels: Vec<u8> = (0..count).map(|i| first + i).collect();
        let file = |kind: &str| dir.join(format!("gzip/emnist-{name}-{part}-{kind}-ubyte.gz"));
        fs::write(file("images-idx3"), gzip(&idx(&[count.into(), 2, 3], &pixels))).unwrap();
        fs::write(file("labels-idx1"), gzip(&idx(&[count.into()], &labels))).unwrap();
    }
}

/// Writes Stanford Cars as torchvision keeps it: 3 training and 2 test images.
pub(crate) fn cars_tree(dir: &Path) {
    let base = dir.join("stanford_cars");
    fs::create_dir_all(base.join("devkit")).unwrap();
    for file in ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"] {
        fs::write(base.join(file), fixture(Path::new(file).file_name().unwrap().to_str().unwrap())).unwrap();
    }
    for (part, count) in [("cars_train", 3), ("cars_test", 2)] {
        (1..=count).for_each(|i| save_rgb(&base.join(part).join(format!("{i:05}.jpg")), 30 + i, 25, 9));
    }
}

/// Writes Oxford-IIIT Pets: 3 training and 2 test images.
pub(crate) fn pets_tree(dir: &Path) {
    let base = dir.join("oxford-iiit-pet");
    fs::create_dir_all(base.join("annotations")).unwrap();
    for (list, entries) in [
        ("trainval", &[("Abyssinian_100", 1), ("american_bulldog_7", 2), ("yorkshire_terrier_1", 37)][..]),
        ("test", &[("Abyssinian_201", 1), ("Egyptian_Mau_14", 12)]),
    ] {
        let lines: String = entries.iter().map(|(name, breed)| format!("{name} {breed} 1 1\n")).collect();
        fs::write(base.join(format!("annotations/{list}.txt")), lines).unwrap();
        entries.iter().for_each(|(name, _)| save_rgb(&base.join(format!("images/{name}.jpg")), 40, 28, 3));
    }
}

/// Writes Food-101 with all its 101 classes (`dish_000`, …), one image of each class in each part.
pub(crate) fn food_tree(dir: &Path) {
    let base = dir.join("food-101");
    fs::create_dir_all(base.join("meta")).unwrap();
    for (part, number) in [("train", 1u32), ("test", 2)] {
        let names: Vec<String> = (0..101).map(|class| format!("dish_{class:03}")).collect();
        let entry = |name: &String| format!("\"{name}\": [\"{name}/{number}\"]");
        let json = names.iter().map(entry).collect::<Vec<_>>().join(", ");
        fs::write(base.join(format!("meta/{part}.json")), format!("{{{json}}}")).unwrap();
        let lines: String = names.iter().map(|name| format!("{name}/{number}\n")).collect();
        fs::write(base.join(format!("meta/{part}.txt")), lines).unwrap();
        for name in &names {
            save_rgb(&base.join(format!("images/{name}/{number}.jpg")), 26 + number, 24, 1);
        }
    }
}

/// A batch of CIFAR's Python version, as Python 2's cPickle wrote it (protocol 2).
pub(crate) fn cifar_pickle(labels_key: &str, labels: &[u8]) -> Vec<u8> {
    let short = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let count = labels.len() as u8;
    let data: Vec<u8> = (0..labels.len()).flat_map(|i| [i as u8; 3072]).collect();
    [
        &b"\x80\x02}q\x01("[..],
        &short("batch_label"),
        b"q\x02",
        &short("training batch 1 of 5"),
        b"q\x03",
        &short(labels_key),
        b"q\x04]q\x05(",
        &labels.iter().flat_map(|&label| [b'K', label]).collect::<Vec<_>>(),
        b"e",
        &short("data"),
        b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01K",
        &[count],
        b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        &(data.len() as u32).to_le_bytes(),
        &data,
        b"tbu.",
    ]
    .concat()
}

/// A pickled dictionary of class names.
pub(crate) fn cifar_meta(key: &str, names: &[&str]) -> Vec<u8> {
    let short = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let list: Vec<u8> = names.iter().flat_map(|name| short(name)).collect();
    [&b"\x80\x02}("[..], &short(key), b"](", &list, b"eu."].concat()
}

/// Writes `{train,test}/{ant,bee}/{a,b}.png`, images of 4x4 pixels.
pub(crate) fn image_tree(dir: &Path) {
    for (i, part) in ["train", "test"].into_iter().enumerate() {
        for (j, class) in ["ant", "bee"].into_iter().enumerate() {
            for (k, file) in ["a.png", "b.png"].into_iter().enumerate() {
                save_rgb(&dir.join(part).join(class).join(file), 4, 4, (100 * i + 10 * j + k) as u8);
            }
        }
    }
}

/// The path of a file in the folder `shared` beside the repository, or in the one that `GNR_SHARED` names. Tests that
/// call this are ignored unless asked for, so a missing file is a failure.
pub(crate) fn shared(file: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("GNR_SHARED").map_or_else(beside, PathBuf::from).join(file);
    assert!(path.exists(), "{} not found; GNR_SHARED may name another folder", path.display());
    path
}
