//! Published sets as they lie on disks: unpacked by Kaggle, nested once more, compressed in parts, written again by
//! Python. Also the errors for what cannot be read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gnr_data::{DataError, Dataset, OpenOptions, Part, Resize, open, verify};
use tempfile::tempdir;

use crate::trees::{
    cars_tree, cifar10_tree, cifar100_tree, fixture, food_tree, gunzip, gzip, mnist_tree, pets_tree, save_rgb,
};

fn opened(name: &str, part: Part, dir: &Path) -> Result<Arc<dyn Dataset>, DataError> {
    let fixed = gnr_data::find(name).unwrap().shape.is_some();
    let resize = (!fixed).then(|| Resize::square(16));
    open(name, part, &OpenOptions { resize, ..OpenOptions::dir(dir) })
}

fn labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

fn message(name: &str, part: Part, dir: &Path) -> String {
    opened(name, part, dir).err().unwrap().to_string()
}

/// Places the four files of MNIST by calling `place` with the name and contents of each.
fn mnist_as(dir: &Path, place: impl Fn(&str, &[u8])) {
    let plain = tempdir().unwrap();
    mnist_tree(plain.path(), [12, 3], false);
    fs::create_dir_all(dir).unwrap();
    for entry in fs::read_dir(plain.path()).unwrap() {
        let entry = entry.unwrap();
        place(&entry.file_name().to_string_lossy(), &fs::read(entry.path()).unwrap());
    }
}

fn put(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn mnist_is_read_wherever_it_was_unpacked() {
    type Place = fn(&Path, &str, &[u8]);
    let places: [(&str, Place); 7] = [
        ("a folder of the file's name", |dir, name, bytes| put(dir.join(name).join(name), bytes)),
        ("a dot in the name", |dir, name, bytes| put(dir.join(name.replace("-idx", ".idx")), bytes)),
        ("a folder with a dot", |dir, name, bytes| {
            put(dir.join(name.replace("-idx", ".idx")).join(name), bytes)
        }),
        ("a folder called .gz", |dir, name, bytes| put(dir.join(format!("{name}.gz")).join(name), bytes)),
        ("a folder deeper", |dir, name, bytes| put(dir.join("mnist-in-idx").join(name), bytes)),
        ("torchvision's, a folder deeper", |dir, name, bytes| {
            put(dir.join("data/MNIST/raw").join(name), &gzip(bytes))
        }),
        ("both forms", |dir, name, bytes| {
            put(dir.join(name).join(name), bytes);
            put(dir.join(name.replace("-idx", ".idx")), bytes);
        }),
    ];
    for (what, place) in places {
        let dir = tempdir().unwrap();
        mnist_as(dir.path(), |name, bytes| place(dir.path(), name, bytes));
        for (part, count) in [(Part::Train, 12), (Part::Test, 3)] {
            assert_eq!(opened("mnist", part, dir.path()).unwrap().len(), count, "{what}");
        }
        assert!(verify(dir.path(), &|_, _| {}).unwrap().damaged.is_empty(), "{what}");
    }
}

#[test]
fn another_member_of_the_family_is_not_taken_for_mnist() {
    let dir = tempdir().unwrap();
    mnist_as(dir.path(), |name, bytes| put(dir.path().join("FashionMNIST").join(name), bytes));
    let error = message("mnist", Part::Train, dir.path());
    assert!(
        error.contains("train-images-idx3-ubyte not found") && error.contains("holds FashionMNIST"),
        "{error}"
    );
    assert!(opened("fashion-mnist", Part::Train, dir.path()).is_ok());
    // Two folders that may both be meant are an error.
    for folder in ["mnist-a", "mnist-b"] {
        mnist_as(dir.path(), |name, bytes| put(dir.path().join(folder).join(name), bytes));
    }
    let error = message("mnist", Part::Train, dir.path());
    assert!(error.contains("exactly one train-images-idx3-ubyte") && error.contains("mnist-b"), "{error}");
}

#[test]
fn gzip_files_of_several_members_and_with_padding_are_read() {
    for (what, write) in [
        (
            "two members",
            (|bytes| {
                let (a, b) = bytes.split_at(bytes.len() / 2);
                [gzip(a), gzip(b)].concat()
            }) as fn(&[u8]) -> Vec<u8>,
        ),
        ("an empty member between", |bytes| {
            let (a, b) = bytes.split_at(9);
            [gzip(a), gzip(b""), gzip(b)].concat()
        }),
        ("zeros at the end", |bytes| [gzip(bytes), vec![0; 777]].concat()),
    ] {
        let dir = tempdir().unwrap();
        mnist_as(dir.path(), |name, bytes| put(dir.path().join(format!("{name}.gz")), &write(bytes)));
        assert_eq!(opened("mnist", Part::Train, dir.path()).unwrap().len(), 12, "{what}");
        assert!(verify(dir.path(), &|_, _| {}).unwrap().damaged.is_empty(), "{what}");
    }
    let dir = tempdir().unwrap();
    mnist_as(dir.path(), |name, bytes| {
        put(dir.path().join(format!("{name}.gz")), &[gzip(bytes), b"rest".to_vec()].concat())
    });
    let error = message("mnist", Part::Train, dir.path());
    assert!(error.contains("bytes after the last member that are neither a member nor zeros"), "{error}");
}

#[test]
fn cifar_is_read_a_folder_deeper() {
    for around in ["cifar-10-batches-bin", "archive", "cifar-100-binary"] {
        let dir = tempdir().unwrap();
        fs::create_dir(dir.path().join(around)).unwrap();
        cifar10_tree(&dir.path().join(around));
        cifar100_tree(&dir.path().join(around));
        assert_eq!(labels(opened("cifar10", Part::Test, dir.path()).unwrap().as_ref()), [0, 3]);
        assert_eq!(labels(opened("cifar100", Part::Train, dir.path()).unwrap().as_ref()), [99, 1, 0]);
    }
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("cifar-10-python.tar.gz"), "x").unwrap();
    let error = message("cifar10", Part::Test, dir.path());
    assert!(error.contains("holds cifar-10-python.tar.gz; unpack cifar-10-python.tar.gz first"), "{error}");
}

/// Files that `tests/fixtures/make.py` wrote: two images of planes 10, 20, 30, with labels 3 and 9.
#[test]
fn cifar_written_again_by_python_is_read() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("cifar-10-batches-py/test_batch");
    for name in ["0_list", "1_bytes", "2_scalars", "3_big_endian", "4_array", "5_by_pixel"] {
        put(&file, &gunzip(&fixture(&format!("again_{name}.pickle.gz"))));
        let set = opened("cifar10", Part::Test, dir.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(labels(set.as_ref()), [3, 9], "{name}");
        let pixels = set.image(1).unwrap().pixels.into_owned();
        assert_eq!(pixels, [[10; 1024], [20; 1024], [30; 1024]].concat(), "{name}");
        let report = verify(dir.path(), &|_, _| {}).unwrap();
        assert!(report.damaged.is_empty() && report.unread.is_empty(), "{name}: {report:?}");
    }
    put(&file, &gunzip(&fixture("again_4_floats.pickle.gz")));
    let error = message("cifar10", Part::Test, dir.path());
    assert!(
        error.contains("pickle of an unknown layout: `data` is not a numpy array of bytes in C order but f4"),
        "{error}"
    );
    // The file is not damaged: nothing is wrong with it.
    let report = verify(dir.path(), &|_, _| {}).unwrap();
    assert_eq!((report.damaged.len(), report.unread.len()), (0, 1), "{report:?}");
}

#[test]
fn photographs_are_read_as_mirrors_nest_them() {
    let dir = tempdir().unwrap();
    cars_tree(dir.path());
    pets_tree(dir.path());
    food_tree(dir.path());
    let expected: Vec<Vec<usize>> = ["stanford-cars", "oxford-pets", "food101"]
        .map(|name| labels(opened(name, Part::Test, dir.path()).unwrap().as_ref()))
        .to_vec();
    // Each of these folders moves into one of its own name.
    for folder in [
        "stanford_cars/cars_train",
        "stanford_cars/cars_test",
        "stanford_cars/devkit",
        "oxford-iiit-pet/images",
        "oxford-iiit-pet/annotations",
        "food-101/meta",
        "food-101",
        "stanford_cars",
    ] {
        let (path, aside) = (dir.path().join(folder), dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        fs::rename(&aside, path.join(path.file_name().unwrap())).unwrap();
        for (name, expected) in ["stanford-cars", "oxford-pets", "food101"].iter().zip(&expected) {
            let set =
                opened(name, Part::Test, dir.path()).unwrap_or_else(|error| panic!("{folder}: {error}"));
            assert_eq!(&labels(set.as_ref()), expected, "{name} with {folder} nested");
        }
    }
}

#[test]
fn cars_in_one_list_are_divided_by_their_flag() {
    let dir = tempdir().unwrap();
    put(dir.path().join("cars_annos.mat"), &fixture("cars_annos.mat"));
    (1..=3).for_each(|i| save_rgb(&dir.path().join(format!("car_ims/{i:06}.jpg")), 30, 20, 9));
    let train = opened("stanford-cars", Part::Train, dir.path()).unwrap();
    assert_eq!((labels(train.as_ref()), train.classes()[13].as_str()), (vec![13, 0], "class 14"));
    assert_eq!(labels(opened("stanford-cars", Part::Test, dir.path()).unwrap().as_ref()), [195]);
    put(dir.path().join("devkit/cars_meta.mat"), &fixture("cars_meta.mat"));
    assert_eq!(opened("stanford-cars", Part::Train, dir.path()).unwrap().classes()[13], "Make 13 Sedan 2003");
    fs::remove_file(dir.path().join("car_ims/000002.jpg")).unwrap();
    assert!(message("stanford-cars", Part::Test, dir.path()).contains("cars_annos.mat: entry 1 names"));
    fs::remove_dir_all(dir.path().join("car_ims")).unwrap();
    assert!(message("stanford-cars", Part::Test, dir.path()).contains("car_ims not found"));
}

#[test]
fn flat_validation_images_of_imagenet_take_their_classes_from_caffes_list() {
    let dir = tempdir().unwrap();
    (1..=2).for_each(|i| save_rgb(&dir.path().join(format!("val/ILSVRC2012_val_{i:08}.JPEG")), 20, 30, 4));
    for (text, expected) in [
        ("ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\n", [65, 970]),
        (
            "\u{feff}ILSVRC2012_val_00000001.JPEG n01440764\r\nILSVRC2012_val_00000002 n02102040 \r\n\r\n",
            [0, 217],
        ),
    ] {
        put(dir.path().join("val.txt"), text.as_bytes());
        assert_eq!(labels(opened("imagenet", Part::Test, dir.path()).unwrap().as_ref()), expected);
    }
    // The devkit's list takes precedence; the file may be taken out of its folders.
    for folder in ["", "devkit/data", "ILSVRC2012_devkit_t12/ILSVRC2012_devkit_t12/data"] {
        let folder = dir.path().join(folder);
        put(folder.join("meta.mat"), &fixture("meta.mat"));
        let truth = folder.join("ILSVRC2012_validation_ground_truth.txt");
        put(&truth, b"166\n490\n");
        assert_eq!(labels(opened("imagenet", Part::Test, dir.path()).unwrap().as_ref()), [217, 0]);
        fs::remove_file(truth).unwrap();
    }
    put(dir.path().join("val.txt"), b"ILSVRC2012_val_00000001.JPEG 1000\n");
    let error = message("imagenet", Part::Test, dir.path());
    assert!(error.contains("val.txt:1: expected NAME and a WordNet id or a number below 1000"), "{error}");
}
