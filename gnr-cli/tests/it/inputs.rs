//! Runs of studies that start from other files: other images, or other initial weights.

use std::{fs, path::Path};

use crate::support::{TINY, run, safetensors, write};

/// Compares one method of the tiny recipe with these settings, in the same folder at every call.
fn compare(home: &Path, sets: &[String]) -> (i32, String, String) {
    let recipe = write(home, "r.toml", TINY);
    let out = home.join("out").display().to_string();
    let common = ["compare", recipe.to_str().unwrap(), "--out", &out, "--methods", "base", "--seeds", "1"];
    let sets: Vec<String> = sets.iter().map(|set| format!("--set={set}")).collect();
    let more = ["--no-sharpness", "--jobs", "1"].into_iter().chain(sets.iter().map(String::as_str));
    run(&common.into_iter().chain(more).collect::<Vec<_>>())
}

/// Grey 8×8 images of two classes in folders, of these brightnesses.
fn images(home: &Path, set: &str, pixels: [u8; 2]) -> String {
    for part in ["train", "test"] {
        for (class, pixel) in ["dark", "light"].iter().zip(pixels) {
            for number in 0..10 {
                let image = [&b"P5 8 8 255\n"[..], &[pixel; 64]].concat();
                write(home, &format!("{set}/{part}/{class}/{number}.pgm"), image);
            }
        }
    }
    home.join(set).display().to_string()
}

/// A finished run is not taken for one of other images. A copy of its images elsewhere is no other set.
#[test]
fn a_finished_run_of_other_images_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (one, copy) = (images(home, "one", [10, 200]), images(home, "copy", [10, 200]));
    let (other, more) = (images(home, "other", [10, 90]), images(home, "more", [10, 200]));
    write(&home.join("more"), "test/light/10.pgm", [&b"P5 8 8 255\n"[..], &[200; 64]].concat());
    let on = |dir: &str| compare(home, &["data.name=folder".into(), format!("data.dir={dir:?}")]);
    assert_eq!(on(&one).0, 0);
    for (dir, words) in [(&other, "other pixels"), (&more, "21 images instead of 20")] {
        let (code, stdout, stderr) = on(dir);
        assert_eq!(code, 1, "{stdout}{stderr}");
        for words in [words, "finished on the images of ", "Choose another --out"] {
            assert!(stderr.contains(words), "{words}: {stderr}");
        }
    }
    let (code, stdout, stderr) = on(&copy);
    assert!(code == 0 && stdout.contains("training: 1 run, 1 finished before"), "{stdout}{stderr}");
    // A run without a record of its images is trusted.
    fs::remove_file(
        fs::read_dir(home.join("out/runs")).unwrap().next().unwrap().unwrap().path().join("data.json"),
    )
    .unwrap();
    assert_eq!(on(&other).0, 0);
}

/// Initial weights count by their contents, whatever the file is called.
#[test]
fn other_initial_weights_make_another_run() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let weights = |name: &str, value: f32| {
        let tensors: [(&str, &[usize], f32); 4] = [
            ("0.weight", &[2, 64], value),
            ("0.bias", &[2], 0.1),
            ("2.weight", &[10, 2], 0.1),
            ("2.bias", &[10], 0.1),
        ];
        write(home, name, safetensors(&tensors)).display().to_string()
    };
    let (one, copy, other) = (weights("one", 0.1), weights("copy", 0.1), weights("other", 0.2));
    let from = |path: &str| compare(home, &[format!("model.weights={path:?}")]);
    for (path, finished) in [(&one, 0), (&other, 0), (&copy, 1), (&other, 1)] {
        let (code, stdout, stderr) = from(path);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains(&format!("training: 1 run, {finished} finished before")), "{path}: {stdout}");
    }
    assert_eq!(fs::read_dir(home.join("out/runs")).unwrap().count(), 2);
}
