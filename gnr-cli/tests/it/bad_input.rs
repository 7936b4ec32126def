//! Bad input: each case is a clear error with the file and the place or key, has exit code 1 (2 for usage), and leaves
//! nothing behind.

use std::{fs, path::Path, process::Command};

use crate::support::{TINY, Tiny, gnr, limited, run, safetensors, tree, write};

/// A case: its name, a function that prepares files in a folder and returns the arguments for `gnr train` (without
/// --out), and words of the error.
type Case = (&'static str, fn(&Path) -> Vec<String>, &'static [&'static str]);

const TRAINING: &[Case] = &[
    (
        "truncated IDX",
        |home| mnist(home, 3 * 784 - 10, &[0, 1, 2]),
        &["train-images-idx3-ubyte", "truncated", "offset"],
    ),
    (
        "IDX label out of range",
        |home| mnist(home, 3 * 784, &[0, 11, 2]),
        &["train-labels-idx1-ubyte", "11", "offset 9"],
    ),
    ("IDX of different lengths", |home| mnist(home, 3 * 784, &[0, 1]), &["train-", "3", "2"]),
    ("truncated CIFAR", |home| cifar(home, 3073 - 5, 1), &["data_batch_1.bin", "3068 bytes", "offset 0"]),
    ("CIFAR label out of range", |home| cifar(home, 3073, 200), &["data_batch_1.bin", "200", "offset 0"]),
    (
        "truncated JPEG",
        |home| {
            let start = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01";
            write(home, "set/train/cat/1.jpg", start);
            write(home, "set/test/cat/1.jpg", start);
            sets(&["data.name=folder"], home)
        },
        &["1.jpg", "truncated"],
    ),
    (
        "not an image",
        |home| {
            write(home, "set/train/cat/1.png", "hello");
            write(home, "set/test/cat/1.png", "hello");
            sets(&["data.name=folder"], home)
        },
        &["1.png"],
    ),
    (
        "truncated weights",
        |home| weights(home, safetensors(MLP)[..900].to_vec()),
        &["w.safetensors", "not a whole safetensors file (900 bytes)"],
    ),
    (
        "mismatched shapes",
        |home| weights(home, safetensors(&[("0.weight", &[2, 63], 0.0), MLP[1], MLP[2], MLP[3]])),
        &["w.safetensors", "0.weight", "[2, 63]", "[2, 64]"],
    ),
    ("missing tensor", |home| weights(home, safetensors(&MLP[..3])), &["w.safetensors", "2.bias", "missing"]),
    (
        "NaN weights",
        |home| weights(home, safetensors(&[MLP[0], ("0.bias", &[2], f32::NAN), MLP[2], MLP[3]])),
        &["w.safetensors", "element 0 of tensor `0.bias` is NaN"],
    ),
    ("no weights", |_| vec!["--set=model.weights=absent.safetensors".into()], &["absent.safetensors"]),
    ("no data", |_| vec!["--set=data.name=cifar10".into()], &["cifar10", "How to get it"]),
    (
        "unknown model",
        |_| vec!["--set=model.name=resnet21".into()],
        &["--set model.name=resnet21", "did you mean `resnet20`"],
    ),
    (
        "unknown key",
        |_| vec!["--set=train.epoch=3".into()],
        &["unknown key `epoch` in [train]; did you mean `epochs`"],
    ),
    ("unknown data set", |_| vec!["--set=data.name=cifar".into()], &["did you mean `cifar10`"]),
    (
        "batch larger than the set",
        |_| vec!["--set=train.batch_size=101".into()],
        &["batch_size", "101", "100 images"],
    ),
    ("no such class count", |_| vec!["--set=data.subset.per_class=1000".into()], &["1000", "class"]),
    (
        "label noise of everything",
        |_| vec!["--set=data.label_noise.rate=1".into()],
        &["--set data.label_noise.rate=1", "[0, 1)"],
    ),
    (
        "no list of labels",
        |home| {
            vec![format!("--set=data.label_noise.file={:?}", home.join("absent.npy").display().to_string())]
        },
        &["absent.npy: cannot read"],
    ),
    ("a diverging run", |_| vec!["--set=optimizer.lr=1e30".into()], &["training diverged at step", "is "]),
];

/// The tensors of an MLP with one hidden layer of two units, for 8×8 images.
const MLP: &[(&str, &[usize], f32)] = &[
    ("0.weight", &[2, 64], 0.0),
    ("0.bias", &[2], 0.0),
    ("2.weight", &[10, 2], 0.0),
    ("2.bias", &[10], 0.0),
];

fn sets(sets: &[&str], home: &Path) -> Vec<String> {
    let dir = format!("--set=data.dir={:?}", home.join("set").display().to_string());
    let mut all: Vec<String> = sets.iter().map(|set| format!("--set={set}")).collect();
    all.extend([dir, "--set=data.subset.per_class=1".into(), "--set=train.batch_size=1".into()]);
    all
}

fn weights(home: &Path, bytes: Vec<u8>) -> Vec<String> {
    let path = write(home, "w.safetensors", bytes);
    vec![format!("--set=model.weights={:?}", path.display().to_string())]
}

/// Writes three 28×28 images, of which `pixels` bytes are there.
fn mnist(home: &Path, pixels: usize, labels: &[u8]) -> Vec<String> {
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28];
    images.resize(16 + pixels, 0);
    let labels = [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8], labels].concat();
    for part in ["train", "t10k"] {
        write(home, &format!("set/{part}-images-idx3-ubyte"), &images);
        write(home, &format!("set/{part}-labels-idx1-ubyte"), &labels);
    }
    sets(&["data.name=mnist"], home)
}

fn cifar(home: &Path, bytes: usize, label: u8) -> Vec<String> {
    let mut record = vec![0; bytes];
    record[0] = label;
    for n in 1..=5 {
        write(home, &format!("set/data_batch_{n}.bin"), &record);
    }
    write(home, "set/test_batch.bin", &record);
    sets(&["data.name=cifar10"], home)
}

#[test]
fn training() {
    for (name, prepare, expected) in TRAINING {
        let home = tempfile::tempdir().unwrap();
        let recipe = write(home.path(), "r.toml", TINY);
        let out = home.path().join("out");
        let mut arguments = vec!["train".to_owned(), recipe.display().to_string()];
        arguments.extend(["--out".into(), out.display().to_string()]);
        arguments.extend(prepare(home.path()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, _, stderr) = run(&arguments);
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(stderr.starts_with("error: "), "{name}: {stderr}");
        for words in *expected {
            assert!(stderr.contains(words), "{name}: {words:?} is not in {stderr}");
        }
        if *name == "a diverging run" {
            assert!(!tree(&out).iter().any(|file| file.contains("partial") || file.contains("summary")));
        } else {
            assert!(!out.exists(), "{name} left {:?}", tree(&out));
        }
    }
}

#[test]
fn evaluation() {
    let home = tempfile::tempdir().unwrap();
    let whole = write(home.path(), "whole.safetensors", safetensors(MLP));
    let cut = write(home.path(), "cut.safetensors", &safetensors(MLP)[..20]);
    let nan = write(
        home.path(),
        "nan.safetensors",
        safetensors(&[MLP[0], MLP[1], ("2.weight", &[10, 2], f32::NAN), MLP[3]]),
    );
    let small = ["--model=mlp", "--set=model.widths=[2]"];
    let cases: &[(&Path, &[&str], &str)] = &[
        (&whole, &[], "give --model"),
        (&whole, &["--model=mlp"], "tensor `4.weight` is missing"),
        (&whole, &["--model=resnet9"], "did you mean `resnet8`"),
        (&whole, &["--model=mlp", "--normalisation=cifar"], "expected one of unit, digits"),
        (&whole, &[small[0], small[1], "--split=validation"], "held out"),
        (&cut, &small, "cut.safetensors"),
        (&nan, &small, "nan.safetensors: element 0 of tensor `2.weight` is NaN"),
        (Path::new("/nowhere.safetensors"), &small, "/nowhere.safetensors"),
    ];
    for (path, arguments, expected) in cases {
        let (code, stdout, stderr) = run(&[&["eval", path.to_str().unwrap()], *arguments].concat());
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let (code, ..) = run(&["eval", whole.to_str().unwrap(), small[0], small[1]]);
    assert_eq!(code, 0);
}

#[test]
fn usage() {
    for arguments in [&["trian"][..], &["train", "--sett", "a=b"], &["eval"], &["train", "--resume"]] {
        assert_eq!(run(arguments).0, 2, "{arguments:?}");
    }
    let (code, _, stderr) = run(&["train", "digit"]);
    assert!(code == 1 && stderr.contains("did you mean `digits`"), "{stderr}");
    let (code, _, stderr) = run(&["train", "absent.toml"]);
    assert!(code == 1 && stderr.contains("absent.toml: cannot read the recipe"), "{stderr}");
    let (code, _, stderr) = run(&["resume", "/nowhere"]);
    assert!(code == 1 && stderr.contains("/nowhere: there is no run to resume here"), "{stderr}");
}

#[test]
fn log_levels() {
    let output = gnr(&["models"]).env("GNR_LOG", "gnr=loud").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("GNR_LOG = \"gnr=loud\": expected levels such as `debug`"), "{words}");
    assert_eq!(gnr(&["models"]).env("GNR_LOG", "").output().unwrap().status.code(), Some(0));
}

#[test]
fn places_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let file = write(home.path(), "file", "precious");
    // Permissions do not bind root, but these places do: below a file, and in a file system in which no files can be
    // made.
    for out in [file.join("run"), file.clone(), "/proc/run".into()] {
        let (code, _, stderr) = run(&["train", recipe.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        assert!(code == 1 && stderr.contains(out.to_str().unwrap()), "{stderr}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_full_disk_leaves_the_last_whole_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    // A checkpoint of 6,760 parameters with their momentum takes 54 KB.
    let train = |out: &Path| {
        let (recipe, out) = (recipe.to_str().unwrap(), out.to_str().unwrap());
        gnr(&["train", recipe, "--out", out, "--set=model.widths=[90]"])
    };
    let refused = |mut command: Command, out: &Path, reason: &str| {
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let words = format!("safetensors: cannot write: {reason}");
        assert!(output.status.code() == Some(1) && stderr.contains(&words), "{stderr}");
        let left = tree(out);
        assert!(!left.iter().any(|file| file.contains("partial") || file.contains("summary")), "{left:?}");
    };
    if cfg!(unix) {
        let out = home.path().join("out");
        refused(limited(&train(&out), 50), &out, "File too large");
    }
    // 64 KiB hold the recipe, the logs and one checkpoint, but not the second one beside it.
    let Some(disk) = Tiny::mount("size=64k") else { return };
    let out = disk.0.path().join("out");
    refused(train(&out), &out, "No space left");
}

#[test]
fn a_read_only_disk_is_named() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let refused = |out: &Path, reason: &str| {
        let (code, _, stderr) = run(&["train", recipe.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        let words = format!("{}: cannot create the run folder: {reason}", out.display());
        assert!(code == 1 && stderr.contains(&words), "{stderr}");
    };
    if cfg!(target_os = "linux") {
        refused(Path::new("/sys/gnr-test"), "");
    }
    let Some(disk) = Tiny::mount("ro,size=64k") else { return };
    refused(&disk.0.path().join("out"), "Read-only");
}
