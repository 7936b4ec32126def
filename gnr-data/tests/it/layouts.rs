//! The published layouts of photographs and of CIFAR's Python version, on generated trees, with every kind of damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gnr_data::{DataError, Dataset, Keep, OpenOptions, Part, Resize, open};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::trees::{
    cars_tree, cifar_meta, cifar_pickle, emnist_tree, fixture, food_tree, pets_tree, save_rgb,
};

fn photos(name: &str, part: Part, dir: &Path) -> Result<Arc<dyn Dataset>, DataError> {
    open(name, part, &OpenOptions { resize: Some(Resize::square(16)), ..OpenOptions::dir(dir) })
}

fn labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

fn message(result: Result<Arc<dyn Dataset>, DataError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn cars_count_their_classes_from_one() {
    let dir = tempdir().unwrap();
    cars_tree(dir.path());
    let train = photos("stanford-cars", Part::Train, dir.path()).unwrap();
    assert_eq!(labels(train.as_ref()), [13, 195, 0]);
    assert_eq!(train.classes()[13], "Make 13 Sedan 2003");
    assert_eq!(labels(photos("stanford-cars", Part::Test, dir.path()).unwrap().as_ref()), [180, 102]);
}

#[test]
fn damaged_cars_are_named() {
    let dir = tempdir().unwrap();
    cars_tree(dir.path());
    let base = dir.path().join("stanford_cars");
    let annotations = base.join("devkit/cars_train_annos.mat");
    let failure = || message(photos("stanford-cars", Part::Train, dir.path()));
    let good = fs::read(&annotations).unwrap();
    for (bytes, expected) in [
        (good[..good.len() - 5].to_vec(), "damaged MAT-file at offset"),
        (good[..50].to_vec(), "the header of 128 bytes is incomplete"),
        (fixture("meta.mat"), "expected a variable `annotations`, found `synsets`"),
    ] {
        fs::write(&annotations, bytes).unwrap();
        let message = failure();
        assert!(message.contains(expected) && message.contains("cars_train_annos.mat"), "{message}");
    }
    fs::write(&annotations, &good).unwrap();
    fs::remove_file(base.join("cars_train/00002.jpg")).unwrap();
    assert!(failure().contains("cars_train_annos.mat: entry 1 names"), "{}", failure());
    fs::write(base.join("cars_train/00002.jpg"), "no JPEG").unwrap();
    assert!(
        failure().contains("00002.jpg: not supported: it is a text that begins `no JPEG`"),
        "{}",
        failure()
    );
    fs::remove_file(base.join("devkit/cars_meta.mat")).unwrap();
    assert!(failure().contains("devkit/cars_meta.mat not found"));
    // A file name that leads out of the folder, in an uncompressed file, which can be overwritten.
    let test = base.join("cars_test_annos_withlabels.mat");
    let mut bytes = fs::read(&test).unwrap();
    let at = bytes.windows(9).position(|window| window == b"00001.jpg").unwrap();
    bytes[at..at + 9].copy_from_slice(b"../01.jpg");
    fs::write(&test, bytes).unwrap();
    let error = message(photos("stanford-cars", Part::Test, dir.path()));
    // The list of classes is missing, too, and is put back first.
    assert!(error.contains("not found"));
    fs::write(base.join("devkit/cars_meta.mat"), fixture("cars_meta.mat")).unwrap();
    let error = message(photos("stanford-cars", Part::Test, dir.path()));
    assert!(error.contains("`../01.jpg` is not a file below"), "{error}");
}

#[test]
fn pets_are_read_from_their_lists() {
    let dir = tempdir().unwrap();
    pets_tree(dir.path());
    let train = photos("oxford-pets", Part::Train, dir.path()).unwrap();
    assert_eq!((labels(train.as_ref()), train.classes()[36].as_str()), (vec![0, 1, 36], "yorkshire terrier"));
    assert_eq!(labels(photos("oxford-pets", Part::Test, dir.path()).unwrap().as_ref()), [0, 11]);
    let list = dir.path().join("oxford-iiit-pet/annotations/trainval.txt");
    for (line, expected) in [
        ("Abyssinian_100", "trainval.txt:2: expected NAME BREED SPECIES NUMBER, found `Abyssinian_100`"),
        ("Abyssinian_100 38 1 1", "breed `38` is not a number in 1..=37"),
        ("Abyssinian_100 0 1 1", "breed `0` is not"),
        ("Abyssinian_100 x 1 1", "breed `x` is not"),
        ("Abyssinian_100 2 1 1", "breed 2 is american_bulldog, but the image is called Abyssinian_100"),
        ("Abyssinian_101 1 1 1", "names"),
        ("/etc/Abyssinian_1 1 1 1", "Abyssinian"),
    ] {
        fs::write(&list, format!("# comment\n{line}\n")).unwrap();
        let message = message(photos("oxford-pets", Part::Train, dir.path()));
        assert!(message.contains(expected) && message.contains("trainval.txt"), "{message}");
    }
    fs::write(&list, "\n").unwrap();
    assert!(message(photos("oxford-pets", Part::Train, dir.path())).contains("no files are listed"));
}

#[test]
fn food_is_read_from_json_or_text() {
    let dir = tempdir().unwrap();
    food_tree(dir.path());
    let meta = dir.path().join("food-101/meta");
    let json = photos("food101", Part::Train, dir.path()).unwrap();
    assert_eq!((json.len(), json.classes()[100].as_str()), (101, "dish_100"));
    fs::remove_file(meta.join("train.json")).unwrap();
    let text = photos("food101", Part::Train, dir.path()).unwrap();
    assert_eq!((labels(text.as_ref()), text.classes()), (labels(json.as_ref()), json.classes()));
    for (file, contents, expected) in [
        ("train.txt", "dish_000/1\nnonsense\n", "train.txt:2: expected CLASS/NUMBER, found `nonsense`"),
        ("train.txt", "dish_000/1\n\ndish_000/77\n", "entry 1 names"),
        ("train.txt", "../dish_000/1\n", "is not a file below"),
        ("train.json", "{\"a\": [\"b/1\"]}", "`b/1` is listed under `a`"),
        ("train.json", "{\"a\": [1]}", "train.json:1: expected {\"CLASS\""),
        ("train.json", "{\"a\": [\"a/1\"", "train.json:1"),
        ("train.json", "[[[[", "train.json:1"),
    ] {
        let _ = fs::remove_file(meta.join("train.json"));
        fs::write(meta.join(file), contents).unwrap();
        let message = message(photos("food101", Part::Train, dir.path()));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn emnist_is_turned_upright_and_letters_count_from_one() {
    let dir = tempdir().unwrap();
    emnist_tree(dir.path(), "letters", 1);
    let set = open("emnist-letters", Part::Train, &OpenOptions::dir(dir.path())).unwrap();
    assert_eq!((labels(set.as_ref()), set.shape()), (vec![0, 1, 2], [1, 3, 2]));
    assert_eq!(set.image(0).unwrap().pixels[..], [0, 3, 1, 4, 2, 5]);
    emnist_tree(dir.path(), "letters", 0);
    let error = message(open("emnist-letters", Part::Test, &OpenOptions::dir(dir.path())));
    assert!(error.contains("label 0, but the first class is 1"), "{error}");
}

fn python10(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("cifar-10-batches-py");
    fs::create_dir_all(&folder).unwrap();
    for batch in 1..=5u8 {
        fs::write(folder.join(format!("data_batch_{batch}")), cifar_pickle("labels", &[batch, 9])).unwrap();
    }
    fs::write(folder.join("test_batch"), cifar_pickle("labels", &[0, 3, 5])).unwrap();
    folder
}

#[test]
fn cifars_python_version_is_read() {
    let dir = tempdir().unwrap();
    let folder = python10(dir.path());
    for given in [dir.path(), &folder] {
        let train = open("cifar10", Part::Train, &OpenOptions::dir(given)).unwrap();
        assert_eq!(
            (labels(train.as_ref()), train.shape()),
            (vec![1, 9, 2, 9, 3, 9, 4, 9, 5, 9], [3, 32, 32])
        );
        assert!(train.image(9).unwrap().pixels.iter().all(|&pixel| pixel == 1));
        assert_eq!(open("cifar10", Part::Test, &OpenOptions::dir(given)).unwrap().classes()[9], "truck");
    }
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    fs::write(folder.join("batches.meta"), cifar_meta("label_names", &names)).unwrap();
    assert_eq!(open("cifar10", Part::Test, &OpenOptions::dir(&folder)).unwrap().classes()[3], "d");
    fs::write(folder.join("batches.meta"), cifar_meta("label_names", &names[..4])).unwrap();
    assert!(
        message(open("cifar10", Part::Test, &OpenOptions::dir(&folder))).contains("expected 10 class names")
    );

    let folder = dir.path().join("cifar-100-python");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train"), cifar_pickle("fine_labels", &[99, 1])).unwrap();
    let train = open("cifar100", Part::Train, &OpenOptions::dir(dir.path())).unwrap();
    assert_eq!((labels(train.as_ref()), train.classes()[99].as_str()), (vec![99, 1], "worm"));
}

#[test]
fn damaged_pickles_are_named() {
    let dir = tempdir().unwrap();
    let file = python10(dir.path()).join("test_batch");
    let good = cifar_pickle("labels", &[0, 3]);
    let mut fortran = good.clone();
    let flag = fortran.iter().position(|&byte| byte == 0x89).unwrap();
    fortran[flag] = 0x88;
    for (bytes, expected) in [
        (
            good[..good.len() - 5].to_vec(),
            "damaged pickle at offset 6346: the file ends before its pickle does",
        ),
        (
            cifar_pickle("labels", &[0, 10]),
            "unknown layout: label of record 1: expected a number below 10, found 10",
        ),
        (
            cifar_pickle("fine_labels", &[0, 1]),
            "unknown layout: expected a dictionary with the keys `data` and `labels`, found a dictionary with the keys \
             batch_label, fine_labels, data",
        ),
        (fortran, "unknown layout: `data` is not a numpy array of bytes in C order but u1 in Fortran order"),
        (b"cos\nsystem\n(S'false'\ntR.".to_vec(), "unknown layout: expected a dictionary with the keys"),
        (b"".to_vec(), "unknown layout: not a pickle but an empty file"),
        (b"<html>".to_vec(), "unknown layout: not a pickle but a web page"),
    ] {
        fs::write(&file, bytes).unwrap();
        let message = message(open("cifar10", Part::Test, &OpenOptions::dir(dir.path())));
        assert!(message.contains(expected) && message.contains("test_batch: "), "{message}");
    }
}

/// The devkit's numbers are not the labels: number 490 is the tench, 166 the springer.
#[test]
fn flat_validation_images_of_imagenet_take_their_classes_from_the_devkit() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("ILSVRC2012_devkit_t12/data");
    fs::create_dir_all(&data).unwrap();
    for number in 1..=3 {
        save_rgb(&dir.path().join(format!("val/ILSVRC2012_val_{number:08}.JPEG")), 20, 30, 4);
    }
    assert!(message(photos("imagenet", Part::Test, dir.path())).contains("classes of the images in val"));
    fs::write(data.join("meta.mat"), fixture("meta.mat")).unwrap();
    let truth = data.join("ILSVRC2012_validation_ground_truth.txt");
    fs::write(&truth, "166\n490\n166\n").unwrap();
    let set = photos("imagenet", Part::Test, dir.path()).unwrap();
    assert_eq!(labels(set.as_ref()), [217, 0, 217]);
    for (text, expected) in [
        ("166\n490\n", "ILSVRC2012_val_00000003.JPEG: no class for this image"),
        ("166\nx\n", "ground_truth.txt:2: `x` is not an ILSVRC2012_ID"),
        ("166\n9999\n", ":2: `9999` is not"),
        ("166\n1002\n166\n", "unknown class `n02084071`"),
    ] {
        fs::write(&truth, text).unwrap();
        let message = message(photos("imagenet", Part::Test, dir.path()));
        assert!(message.contains(expected), "{message}");
    }
    // The classes now come from Kaggle's list.
    fs::remove_dir_all(dir.path().join("ILSVRC2012_devkit_t12")).unwrap();
    let list = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4 \nILSVRC2012_val_00000002,n02102040 1 2 3 4 n02102040 5 6 7 8\n\
                ILSVRC2012_val_00000003,n01440764 0 0 1 1\n";
    fs::write(dir.path().join("LOC_val_solution.csv"), list).unwrap();
    assert_eq!(labels(photos("imagenet", Part::Test, dir.path()).unwrap().as_ref()), [0, 217, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Lists and annotations with changed bytes give an error or a data set, never a panic.
    #[test]
    fn damaged_lists_never_panic(
        which in 0usize..6, damage in proptest::collection::vec((0usize..1 << 16, any::<u8>()), 1..5), cut in 0usize..4000,
    ) {
        let dir = tempdir().unwrap();
        let (name, part, file) = [
            ("stanford-cars", Part::Train, "stanford_cars/devkit/cars_train_annos.mat"),
            ("stanford-cars", Part::Test, "stanford_cars/cars_test_annos_withlabels.mat"),
            ("stanford-cars", Part::Test, "stanford_cars/devkit/cars_meta.mat"),
            ("oxford-pets", Part::Train, "oxford-iiit-pet/annotations/trainval.txt"),
            ("cifar10", Part::Test, "cifar-10-batches-py/test_batch"),
            ("cifar10", Part::Test, "cifar-10-batches-py/batches.meta"),
        ][which];
        match name {
            "stanford-cars" => cars_tree(dir.path()),
            "oxford-pets" => pets_tree(dir.path()),
            _ => {
                let meta = cifar_meta("label_names", &["a"; 10]);
                fs::write(python10(dir.path()).join("batches.meta"), meta).unwrap();
            }
        }
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        damage.into_iter().for_each(|(at, byte)| bytes[at % length.min(300)] = byte);
        bytes.truncate(cut);
        fs::write(&path, bytes).unwrap();
        let options = OpenOptions { resize: Some(Resize::square(8)), keep: Keep::OnDisk, ..OpenOptions::dir(dir.path()) };
        if let Ok(set) = open(name, part, &options) {
            prop_assert!((0..set.len()).all(|index| set.label(index).unwrap() < set.classes().len()));
        }
    }

    /// Any text in place of Food-101's lists gives an error or a data set, never a panic.
    #[test]
    fn random_text_never_panics(text in ".{0,200}", json: bool) {
        let dir = tempdir().unwrap();
        let meta = dir.path().join("food-101/meta");
        fs::create_dir_all(&meta).unwrap();
        fs::create_dir_all(dir.path().join("food-101/images")).unwrap();
        fs::write(meta.join(if json { "train.json" } else { "train.txt" }), text).unwrap();
        prop_assert!(open("food101", Part::Train, &OpenOptions::dir(dir.path())).is_err());
    }
}
