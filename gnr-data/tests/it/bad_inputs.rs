//! Bad inputs with the program's answers, as the table docs/bad-inputs/data.md, in which the wording can be judged.
//!
//! With `GNR_WRITE_TABLES=1` (or `GNR_REWRITE=1`) the test writes the table, else it compares.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gnr_data::{LabelNoise, Noisy, OpenOptions, Part, Resize, find, open};

use crate::trees::{
    cars_tree, cifar_meta, cifar_pickle, cifar_records, cifar10_tree, cifar100_tree, fixture, food_tree,
    gunzip, gzip, idx, image_tree, imagenet_tree, mnist_tree, numbered, pets_tree, save_rgb,
};

/// The kind of a bad input.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    /// A file that is cut, or breaks the rules of its format.
    Damaged,
    /// A complete file of another kind or layout, or in the wrong place.
    Refused,
    /// Files that are missing, or arranged in another way.
    Missing,
    /// A set that opens with a warning (an error with `strict`).
    Told,
}

impl Wrong {
    const ALL: [Self; 4] = [Self::Damaged, Self::Refused, Self::Missing, Self::Told];

    fn title(self) -> &'static str {
        match self {
            Self::Damaged => "Damaged",
            Self::Refused => "Whole, and refused",
            Self::Missing => "Missing, or arranged in another way",
            Self::Told => "Opened, and told at the start of a run (an error with `data.strict = true`)",
        }
    }
}

/// A case: its kind, its description, the data set, and how to make the tree in a folder.
type Case = (Wrong, &'static str, &'static str, Box<dyn Fn(&Path)>);

fn case(wrong: Wrong, what: &'static str, set: &'static str, make: impl Fn(&Path) + 'static) -> Case {
    (wrong, what, set, Box::new(make))
}

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

const IMAGES: &str = "train-images-idx3-ubyte";

/// A case of MNIST with other bytes in place of its training images.
fn mnist(wrong: Wrong, what: &'static str, name: &'static str, bytes: Vec<u8>) -> Case {
    case(wrong, what, "mnist", move |dir| {
        mnist_tree(dir, [3, 2], false);
        fs::remove_file(dir.join(IMAGES)).unwrap();
        put(dir.join(name), &bytes);
    })
}

fn mnist_cases() -> Vec<Case> {
    use Wrong::{Damaged, Missing, Refused, Told};
    let gz = "train-images-idx3-ubyte.gz";
    let good = idx(&[3, 2, 3], &(0..18).collect::<Vec<_>>());
    let packed = gzip(&good);
    let mut checksum = packed.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    vec![
        mnist(Damaged, "an empty file", IMAGES, vec![]),
        mnist(Damaged, "half a header", IMAGES, good[..9].to_vec()),
        mnist(Damaged, "a value missing", IMAGES, good[..good.len() - 1].to_vec()),
        mnist(Damaged, "a header that declares too much", IMAGES, idx(&[u32::MAX; 3], &[])),
        mnist(Damaged, "a cut gzip file", gz, packed[..packed.len() - 9].to_vec()),
        mnist(Damaged, "a wrong checksum of gzip", gz, checksum),
        mnist(Damaged, "a text after a gzip file", gz, [&packed[..], b"rest"].concat()),
        mnist(Refused, "bytes after the declared end", IMAGES, [&good[..], &[0; 7]].concat()),
        mnist(Refused, "labels called images", IMAGES, idx(&[3], &[1, 2, 3])),
        mnist(Refused, "floating-point values", IMAGES, [&[0, 0, 0x0d, 3], &good[4..]].concat()),
        mnist(Refused, "a web page called .gz", gz, b"<html>503 Service Unavailable</html>".to_vec()),
        mnist(Refused, "compressed twice", gz, gzip(&packed)),
        mnist(Refused, "integers of 32 bits", IMAGES, [&[0, 0, 0x0c, 3], &good[4..]].concat()),
        mnist(Refused, "line ends of Windows", IMAGES, [&good[..], b"\r\n"].concat()),
        mnist(Refused, "a Xet pointer", IMAGES, b"# xet version 0\nfilesize = 7\n".to_vec()),
        case(Missing, "names with another ending", "mnist", |dir| {
            mnist_tree(dir, [3, 2], false);
            fs::rename(dir.join(IMAGES), dir.join("train-images-idx3-ubyte.bin")).unwrap();
        }),
        case(Missing, "MNIST of Keras", "mnist", |dir| put(dir.join("mnist.npz"), "PK")),
        case(Missing, "MNIST of Hugging Face", "mnist", |dir| {
            put(dir.join("mnist/train-00000-of-00001.parquet"), "PAR1")
        }),
        case(Missing, "MNIST as tables", "mnist", |dir| put(dir.join("mnist_train.csv"), "label,1x1\n")),
        case(Missing, "a folder that is not there", "mnist", |dir| fs::remove_dir(dir).unwrap()),
        mnist(
            Refused,
            "a Git LFS pointer",
            gz,
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n".to_vec(),
        ),
        mnist(Refused, "fewer images than labels", IMAGES, idx(&[2, 2, 3], &[7; 12])),
        mnist(Refused, "no images", IMAGES, idx(&[0, 28, 28], &[])),
        case(Refused, "a label that is no digit", "mnist", |dir| {
            mnist_tree(dir, [3, 2], false);
            put(dir.join("train-labels-idx1-ubyte"), idx(&[3], &[0, 11, 2]));
        }),
        case(Missing, "an empty folder", "mnist", |_| {}),
        case(Missing, "archives that are not unpacked", "mnist", |dir| put(dir.join("mnist.zip"), "PK")),
        case(Missing, "Fashion-MNIST in place of MNIST", "mnist", |dir| {
            fs::create_dir(dir.join("fashion-mnist")).unwrap();
            mnist_tree(&dir.join("fashion-mnist"), [3, 2], false);
        }),
        mnist(Told, "black images", IMAGES, idx(&[3, 2, 3], &[0; 18])),
    ]
}

fn cifar_cases() -> Vec<Case> {
    use Wrong::{Damaged, Missing, Refused};
    let binary = |wrong, what, bytes: Vec<u8>| {
        case(wrong, what, "cifar10", move |dir| put(cifar10_tree(dir).join("data_batch_1.bin"), &bytes))
    };
    let python = |wrong, what, bytes: Vec<u8>| {
        case(wrong, what, "cifar10", move |dir| put(dir.join("cifar-10-batches-py/data_batch_1"), &bytes))
    };
    let good = cifar_pickle("labels", &[1, 2]);
    let mut fortran = good.clone();
    let flag = fortran.iter().position(|&byte| byte == 0x89).unwrap();
    fortran[flag] = 0x88;
    vec![
        binary(Damaged, "a record that is cut", cifar_records(&[&[0], &[1]])[..6145].to_vec()),
        binary(Damaged, "an empty file", vec![]),
        binary(Refused, "a label that is no class", cifar_records(&[&[0], &[10]])),
        python(Damaged, "a cut pickle", good[..good.len() - 5].to_vec()),
        python(Refused, "an empty pickle", vec![]),
        python(Refused, "a label that is no class, in a pickle", cifar_pickle("labels", &[1, 10])),
        python(Refused, "a pickle of CIFAR-100", cifar_pickle("fine_labels", &[1, 2])),
        python(Refused, "pixels in Fortran order", fortran),
        python(Refused, "pixels from 0 to 1", gunzip(&fixture("again_4_floats.pickle.gz"))),
        python(Refused, "a pickle that calls a program", b"cos\nsystem\n(S'false'\ntR.".to_vec()),
        python(Refused, "a pickle of a set of numbers", b"\x80\x04\x8f\x94(K\x01K\x02\x90.".to_vec()),
        python(Refused, "a web page called data_batch_1", b"<!DOCTYPE html>".to_vec()),
        case(Refused, "another number of class names", "cifar10", |dir| {
            let folder = dir.join("cifar-10-batches-py");
            for batch in 1..=5 {
                put(folder.join(format!("data_batch_{batch}")), cifar_pickle("labels", &[1, 2]));
            }
            put(folder.join("batches.meta"), cifar_meta("label_names", &["a", "b"]));
        }),
        case(Missing, "an archive that is not unpacked", "cifar10", |dir| {
            put(dir.join("cifar-10-python.tar.gz"), "x")
        }),
        case(Missing, "CIFAR-100 in place of CIFAR-10", "cifar10", |dir| drop(cifar100_tree(dir))),
        case(Missing, "a batch is missing", "cifar10", |dir| {
            fs::remove_file(cifar10_tree(dir).join("data_batch_4.bin")).unwrap();
        }),
    ]
}

fn photograph_cases() -> Vec<Case> {
    use Wrong::{Damaged, Missing, Refused};
    let cars = |wrong, what, bytes: Vec<u8>| {
        case(wrong, what, "stanford-cars", move |dir| {
            cars_tree(dir);
            put(dir.join("stanford_cars/devkit/cars_train_annos.mat"), &bytes);
        })
    };
    let mat = fixture("cars_train_annos.mat");
    let header = |end: &[u8; 4]| [&mat[..124], end, &mat[128..]].concat();
    let pets = |what, line: &'static str| {
        case(Refused, what, "oxford-pets", move |dir| {
            pets_tree(dir);
            put(dir.join("oxford-iiit-pet/annotations/trainval.txt"), line);
        })
    };
    let food = |what, text: &'static str| {
        case(Refused, what, "food101", move |dir| {
            food_tree(dir);
            put(dir.join("food-101/meta/train.json"), text);
        })
    };
    vec![
        cars(Damaged, "a cut MAT-file", mat[..mat.len() - 5].to_vec()),
        cars(Damaged, "half the header of a MAT-file", mat[..50].to_vec()),
        cars(Refused, "a MAT-file of version 7.3", header(b"\0\x02IM")),
        cars(Refused, "a big-endian MAT-file", header(b"\x01\0MI")),
        cars(Refused, "a MAT-file of something else", fixture("meta.mat")),
        cars(Refused, "a text called .mat", b"annotations = 3".to_vec()),
        case(Missing, "Stanford Cars without its devkit", "stanford-cars", |dir| {
            cars_tree(dir);
            fs::remove_dir_all(dir.join("stanford_cars/devkit")).unwrap();
        }),
        case(Missing, "a photograph that is listed and not there", "stanford-cars", |dir| {
            cars_tree(dir);
            fs::remove_file(dir.join("stanford_cars/cars_train/00002.jpg")).unwrap();
        }),
        pets("a line with one field", "Abyssinian_100\n"),
        pets("a breed beyond the last", "Abyssinian_100 38 1 1\n"),
        pets("a breed that is not the name's", "Abyssinian_100 2 1 1\n"),
        pets("a name that leads out of the folder", "../../../Abyssinian_1 1 1 1\n"),
        food("a class list that is no JSON", "apple_pie/1"),
        food("an image under another class", "{\"a\": [\"b/1\"]}"),
        case(Refused, "a list in Latin-1", "oxford-pets", |dir| {
            pets_tree(dir);
            put(dir.join("oxford-iiit-pet/annotations/trainval.txt"), b"Abyssinian_100 1 1 1\nB\xe9\n");
        }),
        case(Refused, "a folder that is no class of ImageNet", "imagenet", |dir| {
            imagenet_tree(dir);
            save_rgb(&dir.join("train/cat/a.JPEG"), 20, 20, 1);
        }),
        case(Missing, "no training images of ImageNet", "imagenet", |dir| {
            save_rgb(&dir.join("val/a.JPEG"), 9, 9, 1)
        }),
    ]
}

/// A file whose line ends were converted to those of Unix.
fn as_text(file: &[u8]) -> Vec<u8> {
    let pairs = file.iter().zip(file[1..].iter().chain(&[0]));
    pairs.filter(|(a, b)| (**a, **b) != (b'\r', b'\n')).map(|(a, _)| *a).collect()
}

fn folder_cases() -> Vec<Case> {
    use Wrong::{Damaged, Missing, Refused, Told};
    let file = |wrong, what, name: &'static str, bytes: Vec<u8>| {
        case(wrong, what, "folder", move |dir| {
            image_tree(dir);
            put(dir.join("train/ant").join(name), &bytes);
        })
    };
    let written = |image: image::DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let jpeg = written(image::RgbImage::new(4, 4).into(), image::ImageFormat::Jpeg);
    let png = written(
        image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8, y as u8, 9])).into(),
        image::ImageFormat::Png,
    );
    let deep = image::ImageBuffer::from_pixel(4, 4, image::Luma([0x1234u16]));
    let deep = written(image::DynamicImage::ImageLuma16(deep), image::ImageFormat::Png);
    vec![
        file(Damaged, "an empty image file", "c.jpg", vec![]),
        file(Damaged, "a cut JPEG", "c.jpg", jpeg[..jpeg.len() - 2].to_vec()),
        file(Damaged, "a cut PNG", "c.png", png[..png.len() - 20].to_vec()),
        file(Refused, "a web page called .jpg", "c.jpg", b"<html>404</html>".to_vec()),
        file(Refused, "HEIC called .jpg", "c.jpg", b"\0\0\0\x18ftypheic\0\0\0\0".to_vec()),
        file(Refused, "AVIF called .png", "c.png", b"\0\0\0\x1cftypavif\0\0\0\0".to_vec()),
        file(Refused, "zeros called .bmp", "c.bmp", vec![0; 100]),
        file(Refused, "16-bit grey", "c.png", deep),
        file(Refused, "a PNG copied as a text", "c.png", as_text(&png)),
        file(
            Refused,
            "JPEG 2000 called .jpg",
            "c.jpg",
            b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ".to_vec(),
        ),
        file(Refused, "JPEG XL called .jpg", "c.jpg", b"\xff\x0a\0\x10\0\0".to_vec()),
        file(Refused, "a Photoshop file called .tif", "c.tif", b"8BPS\0\x01\0\0\0\0\0\0".to_vec()),
        file(
            Refused,
            "a drawing called .png",
            "c.png",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        ),
        file(Refused, "a document called .jpg", "c.jpg", b"%PDF-1.4 ".to_vec()),
        file(
            Refused,
            "a Git LFS pointer called .jpg",
            "c.jpg",
            b"version https://git-lfs.github.com/spec/v1\r\noid sha256:4d7a\r\n".to_vec(),
        ),
        file(Refused, "a DVC pointer called .jpg", "c.jpg", b"outs:\n- md5: 4d7a\n  path: c.jpg\n".to_vec()),
        file(Refused, "a page behind a byte-order mark", "c.jpg", b"\xef\xbb\xbf<!DOCTYPE html>".to_vec()),
        file(Refused, "a page in UTF-16", "c.jpg", b"\xff\xfe<\0h\0t\0m\0l\0>\0".to_vec()),
        file(Refused, "a server's XML", "c.jpg", b"<Error><Code>AccessDenied</Code></Error>".to_vec()),
        file(Refused, "a JPEG in gzip", "c.jpg", gzip(&jpeg)),
        file(Refused, "a JPEG behind an empty line", "c.jpg", [b"\n", &jpeg[..]].concat()),
        file(Refused, "16-bit grey in PNM", "c.pgm", [&b"P5 4 4 65535\n"[..], &[1; 32]].concat()),
        file(Damaged, "half of a JPEG", "c.jpg", jpeg[..jpeg.len() / 2].to_vec()),
        file(Damaged, "a JPEG whose end is zeros", "c.jpg", [&jpeg[..jpeg.len() - 2], &[0, 0]].concat()),
        file(Damaged, "a PNG with an altered byte", "c.png", {
            let mut altered = png.clone();
            altered[45] ^= 1;
            altered
        }),
        file(Damaged, "a PNG of 60,000 by 60,000 without its pixels", "c.png", {
            let mut huge = png[..33].to_vec();
            huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
            let mut crc = flate2::Crc::new();
            crc.update(&huge[12..29]);
            huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
            huge
        }),
        file(Told, "a download that goes on", "c.jpg.crdownload", b"x".to_vec()),
        file(Told, "a copy of an editor", "c.png~", png.clone()),
        file(Told, "an image without an ending", "c", png.clone()),
        file(Told, "a list beside the images", "labels.csv", b"a,b".to_vec()),
        file(Told, "an archive beside the images", "more.zip", b"PK\x05\x06".to_vec()),
        file(Told, "an image of a kind that Pillow reads and we do not", "c.tga", b"x".to_vec()),
        #[cfg(unix)]
        case(Refused, "a link to an image that is not there", "folder", |dir| {
            image_tree(dir);
            std::os::unix::fs::symlink(dir.join("away.png"), dir.join("train/ant/c.png")).unwrap();
        }),
        #[cfg(unix)]
        case(Damaged, "a link to itself", "folder", |dir| {
            image_tree(dir);
            std::os::unix::fs::symlink("c.png", dir.join("train/ant/c.png")).unwrap();
        }),
        #[cfg(unix)]
        case(Told, "a link to a folder that is not there", "folder", |dir| {
            image_tree(dir);
            std::os::unix::fs::symlink(dir.join("away"), dir.join("train/cow")).unwrap();
        }),
        #[cfg(unix)]
        case(Told, "a link to the folder around it", "folder", |dir| {
            image_tree(dir);
            std::os::unix::fs::symlink("..", dir.join("train/ant/up")).unwrap();
        }),
        case(Missing, "`Train` in place of `train`", "folder", |dir| {
            save_rgb(&dir.join("Train/cat/a.png"), 4, 4, 0)
        }),
        case(Missing, "a folder too high", "folder", |dir| {
            fs::create_dir(dir.join("archive")).unwrap();
            image_tree(&dir.join("archive"));
        }),
        case(Missing, "class folders in an archive", "folder", |dir| put(dir.join("train.zip"), "PK")),
        case(Refused, "an image of another size", "folder", |dir| {
            image_tree(dir);
            save_rgb(&dir.join("train/bee/c.png"), 12, 8, 0);
        }),
        case(Refused, "a class of which no file is an image", "folder", |dir| {
            image_tree(dir);
            put(dir.join("train/cow/a.avif"), "x");
            put(dir.join("train/cow/b.txt"), "x");
        }),
        case(Missing, "no `train`", "folder", |dir| save_rgb(&dir.join("cat/a.png"), 4, 4, 0)),
        case(Missing, "no class folders", "folder", |dir| save_rgb(&dir.join("train/a.png"), 4, 4, 0)),
        file(Told, "files that are no images", "notes.txt", b"x".to_vec()),
        file(Told, "images that are not decoded", "c.avif", b"x".to_vec()),
        file(Told, "a hidden file of macOS", "._a.png", b"x".to_vec()),
        file(Told, "thumbnails of a NAS", "@eaDir/a.png", png),
        case(Told, "an empty class folder", "folder", |dir| {
            image_tree(dir);
            fs::create_dir(dir.join("train/cow")).unwrap();
        }),
        case(Told, "black images", "folder", |dir| {
            image_tree(dir);
            image::RgbImage::new(4, 4).save(dir.join("train/ant/c.png")).unwrap();
        }),
        case(Told, "names that differ only in case", "folder", |dir| {
            image_tree(dir);
            save_rgb(&dir.join("train/Ant/a.png"), 4, 4, 0);
        }),
    ]
}

/// The answer when the training part of `set` in `dir` is opened.
fn said(dir: &Path, wrong: Wrong, set: &str) -> String {
    let resize = (find(set).unwrap().shape.is_none() && set != "folder").then(|| Resize::square(8));
    let options = OpenOptions { resize, ..OpenOptions::dir(dir) };
    let opened = open(set, Part::Train, &options);
    if wrong == Wrong::Told {
        let warnings = opened.unwrap().warnings();
        let strict = open(set, Part::Train, &OpenOptions { strict: true, ..options }).err().unwrap();
        assert!(!warnings.is_empty() && strict.to_string().ends_with(&warnings.join("\n  ")), "{strict}");
        return warnings.join("; ");
    }
    let error = opened.err().unwrap_or_else(|| panic!("opened in spite of it: {}", dir.display()));
    assert_eq!(
        error.is_damage(),
        wrong == Wrong::Damaged || error.to_string().contains(": no images"),
        "{error}"
    );
    error.to_string()
}

/// The table of lists of labels that do not fit a training set of three images and three classes.
fn labels() -> String {
    let dir = tempfile::tempdir().unwrap();
    let npy = |descr: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let cases = [
        ("a label too few", "labels.txt", b"0\n1\n".to_vec()),
        ("a label that is no class", "labels.txt", b"0\n1\n3\n".to_vec()),
        ("names in place of numbers", "labels.txt", b"cat\ndog\ncat\n".to_vec()),
        ("Latin-1", "labels.txt", b"0\n\xe9\n".to_vec()),
        ("floating-point labels", "labels.npy", npy("<f8", "(3,)", &[0; 24])),
        ("a matrix", "labels.npy", npy("|u1", "(3, 1)", &[0; 3])),
        ("an array of Python objects", "labels.npy", npy("|O", "(3,)", b"\x80\x04")),
        ("an array that is cut", "labels.npy", npy("<i8", "(3,)", &[0; 20])),
        ("a web page", "labels.npy", b"<html>404</html>".to_vec()),
    ];
    let mut rows = String::new();
    for (what, name, bytes) in cases {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = Noisy::new(numbered(3, [1, 2, 2], 3), &LabelNoise::File(path)).err().unwrap();
        row(&mut rows, what, "label noise", &error.to_string(), dir.path());
    }
    rows
}

fn row(table: &mut String, what: &str, set: &str, said: &str, dir: &Path) {
    assert!(said.contains(&dir.display().to_string()), "{what}: no file or folder is named: {said}");
    let said = said.replace(&dir.display().to_string(), "DIR").replace('|', "\\|").replace('\n', " ");
    writeln!(table, "| {what} | {set} | {said} |").unwrap();
}

#[test]
fn every_bad_input_is_told_what_it_is() {
    let mut table = String::from(
        "# Bad data sets, and what is said of them\n\nWritten by `GNR_WRITE_TABLES=1 cargo test -p gnr-data bad_inputs`; the test compares \
         it. `DIR` is the folder that was given.\n",
    );
    let cases: Vec<Case> =
        [mnist_cases(), cifar_cases(), photograph_cases(), folder_cases()].into_iter().flatten().collect();
    for wrong in Wrong::ALL {
        write!(table, "\n## {}\n\n| input | data set | what is said |\n|---|---|---|\n", wrong.title())
            .unwrap();
        for (_, what, set, make) in cases.iter().filter(|case| case.0 == wrong) {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let said = said(dir.path(), wrong, set);
            assert!(wrong == Wrong::Damaged || !said.contains("damaged"), "{what}: {said}");
            row(&mut table, what, set, &said, dir.path());
        }
    }
    write!(table, "\n## Lists of labels\n\n| input | data set | what is said |\n|---|---|---|\n{}", labels())
        .unwrap();
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "bad-inputs", "data.md"].iter().collect();
    if ["GNR_WRITE_TABLES", "GNR_REWRITE"].iter().any(|name| std::env::var_os(name).is_some()) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    for (written, now) in written.lines().zip(table.lines()) {
        assert_eq!(now, written, "GNR_WRITE_TABLES=1 writes the table anew");
    }
    assert_eq!(written.lines().count(), table.lines().count(), "GNR_WRITE_TABLES=1 writes the table anew");
}
