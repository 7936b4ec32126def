//! Writers of small data sets in the published layouts.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gnr_data::{Dataset, Image, InMemory};

/// A data set whose images all differ: `len` images `shape`, labels 0, 1, …, classes − 1, 0, 1, …
pub(crate) fn numbered(len: usize, shape: [usize; 3], classes: usize) -> Arc<dyn Dataset> {
    let size: usize = shape.iter().product();
    // 1 + …: no pixel is 0, so padding can be told from image.
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

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// `{train,t10k}` images 2x3 and labels of `counts` images in `dir`, gzipped when `zipped`.
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

/// CIFAR records: `labels[i]` bytes then 3,072 pixels of value `i`.
pub(crate) fn cifar_records(labels: &[&[u8]]) -> Vec<u8> {
    labels.iter().enumerate().flat_map(|(i, label)| [*label, &[i as u8; 3072]].concat()).collect()
}

/// A CIFAR-10 binary tree in `dir/cifar-10-batches-bin` with two records a file.
pub(crate) fn cifar10_tree(dir: &Path) -> PathBuf {
    let folder = dir.join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    for batch in 1..=5 {
        fs::write(folder.join(format!("data_batch_{batch}.bin")), cifar_records(&[&[batch], &[9]])).unwrap();
    }
    fs::write(folder.join("test_batch.bin"), cifar_records(&[&[0], &[3]])).unwrap();
    folder
}

/// A CIFAR-100 binary tree in `dir/cifar-100-binary`.
pub(crate) fn cifar100_tree(dir: &Path) -> PathBuf {
    let folder = dir.join("cifar-100-binary");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train.bin"), cifar_records(&[&[19, 99], &[0, 1], &[4, 0]])).unwrap();
    fs::write(folder.join("test.bin"), cifar_records(&[&[3, 42]])).unwrap();
    folder
}

/// A lossless RGB image whose pixel (x, y) is (x, y, `blue`).
pub(crate) fn save_rgb(path: &Path, width: u32, height: u32, blue: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, blue])).save(path).unwrap();
}

/// A picture that any language can compute: the reference images of the golden tests.
pub(crate) fn picture(height: usize, width: usize) -> Image<'static> {
    let pixel = |c: usize, y: usize, x: usize| {
        (x * x / 7 + 3 * y * x + 91 * y + 53 * c * (x + 2 * y)) as u8 // modulo 256
    };
    let pixels = (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| pixel(c, y, x))));
    Image { channels: 3, height, width, pixels: pixels.collect::<Vec<_>>().into() }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// ImageNet as it is usually arranged: `{train,val}/{n01440764,n02102040}/*.JPEG` of mixed sizes.
pub(crate) fn imagenet_tree(dir: &Path) {
    for part in ["train", "val"] {
        for (k, wnid) in ["n01440764", "n02102040"].into_iter().enumerate() {
            save_rgb(&dir.join(part).join(wnid).join(format!("{wnid}_{k}.JPEG")), 40 + k as u32, 32, 90);
        }
    }
}

/// `{train,test}/{ant,bee}/{a,b}.png`, 4x4.
pub(crate) fn image_tree(dir: &Path) {
    for (i, part) in ["train", "test"].into_iter().enumerate() {
        for (j, class) in ["ant", "bee"].into_iter().enumerate() {
            for (k, file) in ["a.png", "b.png"].into_iter().enumerate() {
                save_rgb(&dir.join(part).join(class).join(file), 4, 4, (100 * i + 10 * j + k) as u8);
            }
        }
    }
}

/// The folder of shared test material, or a notice that the test is skipped.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("GNR_SHARED").map_or_else(beside, PathBuf::from).join(file);
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(path)
}
