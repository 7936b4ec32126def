//! A campaign for each parser, which reads contents in memory: ten million inputs take minutes.

use std::fs;
use std::path::{Path, PathBuf};

use gnr_data::{DataError, Unpack, testing};
use gnr_fuzz::Campaign;

use crate::trees::{cifar_meta, cifar_pickle, fixture, gunzip, gzip, idx};
use crate::{MEMORY, words};

/// Memory of gzip's and zlib's decoders.
const DECODER: usize = 3 << 16;
/// Memory that a pickle of any size may take: gnr-pickle's budget has 1 MiB, and one more vector is checked against it.
const PICKLE: usize = 3 << 19;

fn corpora() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz", "corpus"].iter().collect()
}

fn campaign(name: &'static str, seeds: Vec<Vec<u8>>, pieces: &'static [&'static [u8]]) -> Campaign<'static> {
    Campaign::new(name, &corpora(), seeds, pieces)
}

/// Runs a campaign with the reader of its name. `images` is the folder with the images that lists name.
fn run_in(campaign: &Campaign<'_>, images: &Path) {
    let (_, read) = testing::READERS.iter().find(|(name, _)| *name == campaign.name).unwrap();
    campaign.run(&MEMORY, |bytes| {
        read(bytes, images).map_err(|error| {
            let told = error.to_string();
            // Their names are part of the message, but of no outcome.
            match error {
                DataError::ListedFileMissing { .. } => "an image that is not there".into(),
                _ => told.replace(&*images.to_string_lossy(), "IMAGES"),
            }
        })
    });
}

fn run(campaign: &Campaign<'_>) {
    run_in(campaign, Path::new("/nowhere"));
}

/// A gzip file of stored blocks: cheap to write, with the right checksum.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    stored_blocks(bytes, &mut packed);
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    packed.extend(crc.sum().to_le_bytes());
    packed.extend((bytes.len() as u32).to_le_bytes());
    packed
}

/// Deflate's stored blocks (RFC 1951, 3.2.4).
fn stored_blocks(bytes: &[u8], packed: &mut Vec<u8>) {
    let blocks = bytes.chunks(0xffff).collect::<Vec<_>>();
    let blocks = if blocks.is_empty() { vec![&[][..]] } else { blocks };
    for (number, block) in blocks.iter().enumerate() {
        packed.push(u8::from(number + 1 == blocks.len()));
        packed.extend((block.len() as u16).to_le_bytes());
        packed.extend((!(block.len() as u16)).to_le_bytes());
        packed.extend_from_slice(block);
    }
}

#[test]
fn idx_files() {
    let pixels: Vec<u8> = (0..60).collect();
    let valid = idx(&[3, 4, 5], &pixels);
    let mut campaign = campaign("idx", vec![valid.clone(), gzip(&valid)], words::HEADERS);
    // A third of the inputs is in gzip, with a checksum made after the damage.
    campaign.pack = |bytes, word| if word % 3 == 0 { stored(&bytes) } else { bytes };
    (campaign.constant, campaign.justified) = (DECODER, words::gunzipped);
    run(&campaign);
}

#[test]
fn gzip_files() {
    let text: Vec<u8> = (0..600u32).map(|i| (i * i / 7) as u8).collect();
    let members = [gzip(&text), gzip(b"x"), vec![0; 40]].concat();
    let mut campaign = campaign("gzip", vec![members, stored(&text), gzip(&[0; 5000])], words::HEADERS);
    campaign.constant = DECODER;
    run(&campaign);
}

#[test]
fn cifar_records() {
    let record = |labels: &[u8]| [labels, &[b'.'; 3072]].concat();
    let seeds = vec![record(&[7]), record(&[3, 42]), record(&[7]).repeat(2)];
    let mut campaign = campaign("cifar-binary", seeds, words::HEADERS);
    // Input that begins like gzip is decompressed.
    campaign.constant = DECODER;
    run(&campaign);
}

#[test]
fn cifar_batches() {
    let again = ["0_list", "1_bytes", "2_scalars", "3_big_endian", "4_array", "5_by_pixel"];
    let again = again.map(|name| gunzip(&fixture(&format!("again_{name}.pickle.gz"))));
    let seeds = [cifar_pickle("labels", &[3, 9]), cifar_pickle("fine_labels", &[3, 99])];
    pickles(campaign("cifar-pickle", seeds.into_iter().chain(again).collect(), words::PICKLE));
}

#[test]
fn cifar_metas() {
    let ten = cifar_meta("label_names", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    pickles(campaign("cifar-meta", vec![ten, cifar_meta("fine_label_names", &["x"; 100])], words::PICKLE));
}

fn pickles(mut campaign: Campaign<'_>) {
    campaign.constant = PICKLE;
    run(&campaign);
}

/// A campaign found the first of these: a number of a pickle is a line of a megabyte, which the error repeated.
#[test]
fn errors_repeat_little_of_a_file() {
    let lines: [(&[u8], &[u8], &[u8]); 7] = [
        (b"p", b"(\x8c\x01a\x93(", b"\n"),
        (b"I", b"\xff", b"\n."),
        (b"", b"word", b"\n"),
        (b"a ", b"word", b" b c\n"),
        (b"Abyssinian_1 ", b"word", b" 1 1\n"),
        (b"", b"a/b", b"\n"),
        (b"a\n", b"word", b",\n"),
    ];
    for (start, piece, end) in lines {
        let bytes = [start, &piece.repeat((1 << 20) / piece.len()), end].concat();
        for (name, read) in testing::READERS {
            if let Err(error) = read(&bytes, Path::new("/nowhere")) {
                let told = error.to_string();
                assert!(told.len() < 1000, "{name}: {} bytes are said, of {start:?} {piece:?}", told.len());
            }
        }
    }
}

#[test]
fn cifar_names() {
    let names = |count: usize| (0..count).map(|class| format!("class {class}\n")).collect::<String>();
    let seeds = [10, 100].map(|count| names(count).into_bytes());
    run(&campaign("cifar-names", seeds.to_vec(), words::LISTS));
}

/// The contents of the first compressed element of a MAT-file.
fn decompressed(mat: &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes([mat[132], mat[133], mat[134], mat[135]]) as usize;
    let mut out = mat[..128].to_vec();
    let mut decoder = flate2::read::ZlibDecoder::new(&mat[136..136 + length]);
    std::io::copy(&mut decoder, &mut out).unwrap();
    out
}

#[test]
fn mat_files() {
    let files = ["cars_train_annos.mat", "cars_meta.mat", "cars_annos.mat", "meta.mat"];
    let packed = files.map(fixture);
    let plain = packed.each_ref().map(|mat| decompressed(mat));
    let seeds = packed.into_iter().chain(plain).chain([fixture("cars_test_annos_withlabels.mat")]).collect();
    let mut campaign = campaign("mat", seeds, words::MAT);
    campaign.pack = |bytes, word| match (bytes.get(..128), bytes.get(128..)) {
        // The elements are packed into one compressed element.
        (Some(header), Some(elements)) if word % 4 == 0 => {
            let mut packed = vec![0x78, 0x01];
            stored_blocks(elements, &mut packed);
            packed.extend(words::adler32(elements).to_be_bytes());
            [header, &15u32.to_le_bytes(), &(packed.len() as u32).to_le_bytes(), &packed].concat()
        }
        _ => bytes,
    };
    (campaign.constant, campaign.justified) = (DECODER, words::mat_decompressed);
    run(&campaign);
}

#[test]
fn lists_of_labels() {
    let npy = |descr: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (6,), }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let big: Vec<u8> = [0u16, 1, 2, 0, 1, 2].into_iter().flat_map(u16::to_be_bytes).collect();
    let text = b"# six\n0\n1\n2\r\n0\n1\n2\n".to_vec();
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("0\n1\n2\n0\n1\n2\n".bytes().flat_map(|b| [b, 0])).collect();
    run(&campaign(
        "labels",
        vec![text, utf16, npy("|u1", &[0, 1, 2, 0, 1, 2]), npy(">i2", &big)],
        words::NPY,
    ));
}

/// A folder with empty files of these names, in memory where the system offers that.
fn images(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    dir
}

/// Campaigns on a list of images, whose errors repeat the path of their folder.
fn list(name: &'static str, seed: &str, names: &[&str]) {
    let mut campaign = campaign(name, vec![seed.as_bytes().to_vec()], words::LISTS);
    let dir = images(names);
    campaign.justified =
        |bytes| bytes.len() + 64 * bytes.iter().filter(|byte| matches!(byte, b'\n' | b'"')).count();
    run_in(&campaign, dir.path());
}

#[test]
fn lists_of_pets() {
    let names = ["Abyssinian_100.jpg", "american_bulldog_7.jpg", "yorkshire_terrier_1.jpg"];
    list(
        "pets",
        "#Image\nAbyssinian_100 1 1 1\namerican_bulldog_7 2 1 1\nyorkshire_terrier_1 37 1 1\n",
        &names,
    );
}

#[test]
fn lists_of_dishes() {
    let names = ["pie/1.jpg", "pie/2.jpg", "soup/1.jpg"];
    list("food-json", "{\"pie\": [\"pie/1\", \"pie/2\"], \"soup\": [\"soup/1\", \"soup/1\"]}", &names);
    list("food-lines", "pie/1\npie/2\nsoup/1\n", &names);
}

#[test]
fn lists_of_imagenet() {
    list("imagenet-lines", "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG n01440764\n", &[]);
    let kaggle = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\nILSVRC2012_val_00000002,n02102040 1 2 3 4\n";
    list("imagenet-kaggle", kaggle, &[]);
    list("imagenet-devkit", "166\n490\n", &[]);
}

#[test]
fn archives() {
    let tar = |entries: &[(&str, &[u8])]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let plain = tar(&[("d/a", b"some contents"), ("b", b"7777777")]);
    let nested = tar(&[("x.tar", &plain)]);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("d/a", &b"some contents"[..]), ("b", b"7777777")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, bytes).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    // The last byte selects the kind of archive.
    let kinds = [Unpack::Tar { into: "" }, Unpack::TarOfTars { into: "t" }, Unpack::Zip { into: "z" }];
    let marked = |bytes: Vec<u8>, kind: u8| [bytes, vec![kind]].concat();
    let seeds = vec![marked(gzip(&plain), 0), marked(plain, 0), marked(nested, 1), marked(zip, 2)];
    let mut campaign = campaign("archives", seeds, words::ARCHIVES);
    campaign.constant = 1 << 19;
    campaign.justified = words::gunzipped;
    let home = images(&[]);
    let (archive, dir) = (home.path().join("archive"), home.path().join("dir"));
    campaign.run(&MEMORY, |bytes| {
        let (&kind, bytes) = bytes.split_last().ok_or("empty")?;
        fs::write(&archive, bytes).unwrap();
        fs::create_dir(&dir).unwrap();
        let outcome = testing::unpack_archive(&archive, kinds[usize::from(kind) % 3], 1 << 16, &dir);
        // Nothing of a refused archive appears, and nothing ever beside the folder.
        let left = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(&dir).unwrap();
        assert!(fs::read_dir(home.path()).unwrap().count() == 1 && (left == 0 || outcome.is_ok()));
        outcome.map_err(|error| error.to_string().replace(&*home.path().to_string_lossy(), "HOME"))
    });
}
