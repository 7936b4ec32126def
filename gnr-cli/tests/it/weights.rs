//! Tests of `gnr weights`, `gnr convert`, and runs that start from weights.

use std::path::Path;

use crate::support::{TINY, run, safetensors, write};

/// The weights of `TINY`'s model, all ones except for the bias of the classifier.
fn mlp() -> Vec<u8> {
    safetensors(&[
        ("0.weight", &[2, 64], 1.0),
        ("0.bias", &[2], 1.0),
        ("2.weight", &[10, 2], 1.0),
        ("2.bias", &[10], 0.5),
    ])
}

fn path(home: &Path, name: &str) -> String {
    home.join(name).display().to_string()
}

#[test]
fn tensors_are_listed_and_compared_with_a_model() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "w.safetensors", mlp());
    let file = path(home.path(), "w.safetensors");
    let (code, stdout, stderr) = run(&["weights", &file]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        stdout.contains("0.weight  F32  [2, 64]") && stdout.contains("sum     1.280000000e2"),
        "{stdout}"
    );
    assert!(stdout.contains("4 tensors, 160 numbers (safetensors)"), "{stdout}");
    let (_, stdout, _) = run(&["weights", &file, "--json"]);
    let first: serde_json::Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["sum"]), (&"0.bias".into(), &2.0.into()));

    let model = ["weights", &file, "--model", "lenet", "--classes", "10", "--input", "1,28,28"];
    let (code, _, stderr) = run(&model);
    assert!(code == 1 && stderr.contains("no tensor fits the model"), "{stderr}");
    // Tensors of these names with other shapes.
    let model = ["--model", "mlp", "--classes", "10", "--input", "1,8,8"];
    let (code, _, stderr) = run(&[&["weights", &file][..], &model].concat());
    assert!(
        code == 1 && stderr.contains("`0.weight` [2, 64]") && stderr.contains("`0.weight` [256, 64]"),
        "{stderr}"
    );
    let part = safetensors(&[("0.weight", &[2, 64], 1.0), ("4.bias", &[10], 0.5)]);
    write(home.path(), "part.safetensors", part);
    let (code, stdout, _) = run(&[&["weights", &path(home.path(), "part.safetensors")][..], &model].concat());
    assert!(code == 1 && stdout.contains("missing, freshly initialised"), "{stdout}");
    let (code, _, stderr) = run(&["weights", &file, "--classes", "10"]);
    assert!(code == 2 && stderr.contains("--model"), "{stderr}");
}

#[test]
fn files_are_converted_and_not_overwritten() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "w.safetensors", mlp());
    let (from, to) = (path(home.path(), "w.safetensors"), path(home.path(), "out.safetensors"));
    let (code, stdout, _) = run(&["convert", &from, &to]);
    assert!(code == 0 && stdout.contains("4 tensors"), "{stdout}");
    let (code, _, stderr) = run(&["convert", &from, &to]);
    assert!(code == 1 && stderr.contains("nothing was overwritten"), "{stderr}");
    assert_eq!(run(&["convert", &from, &to, "--force"]).0, 0);
    let (code, _, stderr) = run(&["convert", &from, &to, "--force", "--key", "ema"]);
    assert!(code == 1 && stderr.contains("no tensor under `ema`"), "{stderr}");
}

#[test]
fn a_run_says_what_it_started_from() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    write(home.path(), "w.safetensors", mlp());
    let weights = format!("model.weights={:?}", path(home.path(), "w.safetensors"));
    let out = path(home.path(), "out");
    let arguments = [
        "train",
        recipe.to_str().unwrap(),
        "--out",
        &out,
        "--set",
        &weights,
        "--set",
        "model.load=new-head",
        "--set",
        "model.freeze=backbone",
    ];
    let (code, stdout, _) = run(&[&arguments[..], &["--dry-run"]].concat());
    assert!(
        code == 0 && stdout.contains("# new head, freshly initialised (2): 2.weight, 2.bias"),
        "{stdout}"
    );
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("30 of 160 parameters learned"), "{stdout}");
    assert!(stdout.contains("weights: ") && stdout.contains("2 of 4 tensors"), "{stdout}");
    assert!(Path::new(&out).join("weights.json").is_file());
}

/// The file belongs to gnr-models' tests: objects of 25 classes beside two tensors.
#[test]
fn objects_that_are_not_read_are_listed() {
    let file: std::path::PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "gnr-models", "tests", "data", "objects.pth"].iter().collect();
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) = run(&["weights", file]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("2 tensors, 6 numbers (PyTorch, zip)"), "{stdout}");
    assert!(stdout.contains("neither read nor run (25):\n  addict: addict.addict.Dict\n"), "{stdout}");
    assert!(stdout.contains("  and 5 more of 5 other classes\n"), "{stdout}");
    // JSON lists all of them.
    let (_, stdout, _) = run(&["weights", file, "--json"]);
    let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["not_read"], &last["class"]), (&"yacs".into(), &"yacs.config.CfgNode".into()));
    assert_eq!(stdout.lines().count(), 2 + 25);
}

#[test]
fn an_altered_tensor_does_not_hide_the_others() {
    let home = tempfile::tempdir().unwrap();
    let whole: std::path::PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "gnr-models", "tests", "data", "objects.pth"].iter().collect();
    let mut bytes = std::fs::read(whole).unwrap();
    // The elements of fc.bias are 5 and 6.
    let bias = [5f32.to_le_bytes(), 6f32.to_le_bytes()].concat();
    let at = bytes.windows(8).position(|window| window == bias).unwrap();
    bytes[at] ^= 1;
    write(home.path(), "altered.pth", bytes);
    let (code, stdout, stderr) = run(&["weights", &path(home.path(), "altered.pth")]);
    assert!(code == 1 && stderr.contains("tensor `model.fc.bias`") && stderr.contains("altered"), "{stderr}");
    assert!(stdout.contains("cannot be read\n") && stdout.contains("sum     1.000000000e1"), "{stdout}");
}
