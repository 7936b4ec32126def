//! Tests of `gnr devices`, and of `--device` for the commands that compute.

use crate::support::{gnr, run, write};

/// The output of `gnr devices` on a machine whose PATH has this folder only.
fn devices(path: &std::path::Path, arguments: &[&str]) -> String {
    let output = gnr(&[&["devices"], arguments].concat()).env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_list_has_every_engine_and_says_why_there_is_no_card() {
    let nothing = tempfile::tempdir().unwrap();
    let text = devices(nothing.path(), &[]);
    assert!(text.starts_with("machine: "), "{text}");
    assert!(text.contains("train.backend = \"cpu\"") && text.contains("train.device = cpu"), "{text}");
    let optional = [
        ("burn", cfg!(feature = "burn")),
        ("dfdx", cfg!(feature = "dfdx")),
        ("torch", cfg!(feature = "torch")),
    ];
    for (engine, built) in optional {
        let line = text.lines().find(|line| line.contains(&format!("\"{engine}\""))).unwrap();
        let how = format!("cargo build --release --features {engine}");
        assert_eq!(line.contains(&how), !built, "{line}");
    }
    let reason = text.lines().find(|line| line.starts_with("no CUDA card to compute on: ")).unwrap();
    assert!(reason.contains("no NVIDIA driver: `nvidia-smi`"), "{reason}");
    let missing = match (cfg!(feature = "torch"), cfg!(feature = "dfdx-cuda")) {
        (true, _) => "libtorch_cuda.so",
        (false, true) => "NVIDIA's driver",
        (false, false) => "built without the backend \"torch\"",
    };
    assert!(reason.contains(missing), "{reason}");
    let vulkan = text.lines().find(|line| line.starts_with("no Vulkan device to compute on: "));
    if cfg!(feature = "burn-wgpu") {
        let first = text.lines().find(|line| line.starts_with("vulkan:0: ")).unwrap();
        assert!(first.contains(", driver ") && vulkan.is_none(), "{text}");
        assert!(text.contains("train.device = cpu, vulkan:0"), "{text}");
    } else {
        assert!(vulkan.unwrap().contains("cargo build --release --features burn-wgpu"), "{text}");
    }

    let json: serde_json::Value = serde_json::from_str(&devices(nothing.path(), &["--json"])).unwrap();
    assert_eq!(json["backends"][0]["name"], "cpu");
    assert!(json["cores"].as_u64().unwrap() > 0 && json["cards"].as_array().unwrap().is_empty(), "{json}");
}

/// A script stands in for the driver's own program and prints what that would.
#[cfg(unix)]
#[test]
fn cards_of_the_driver_are_listed_with_their_memory_and_a_broken_driver_is_quoted() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let answer = |script: &str| {
        let path = write(home.path(), "nvidia-smi", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        devices(home.path(), &[])
    };
    let text = answer("echo '580.65, 81559, 80994, NVIDIA H100 80GB HBM3'");
    assert!(text.contains("card 0: NVIDIA H100 80GB HBM3, 79.6 GB (79.1 GB free), driver 580.65"), "{text}");
    let text = answer("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18");
    assert!(
        text.contains("`nvidia-smi` failed: Failed to initialize NVML: Driver/library version mismatch"),
        "{text}"
    );
}

/// A run of the program, with workers of the loader and variations of the images. Both engines compute in f64:
/// additions in another order, grown over the steps of three epochs.
#[cfg(feature = "burn")]
#[test]
fn a_run_with_burn_has_the_curve_of_the_cpu_engine() {
    let home = tempfile::tempdir().unwrap();
    let recipe = r#"
[data]
subset = { per_class = 20 }
validation = 0.2
[model]
name = "resnet8"
widths = [4, 4, 4]
[method.gnr]
rho = 0.1
[train]
epochs = 3
batch_size = 32
precision = "f64"
workers = 2
"#;
    let recipe = write(home.path(), "recipe.toml", recipe);
    let curve = |backend: &str| -> Vec<[f64; 4]> {
        let (out, set) = (home.path().join(backend), format!("train.backend={backend}"));
        let arguments = ["train", recipe.to_str().unwrap(), "--set", &set, "--out", out.to_str().unwrap()];
        let (code, _, stderr) = run(&arguments);
        assert_eq!(code, 0, "{stderr}");
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let epochs = lines.filter(|line| line["kind"] == "epoch");
        let keys = ["train_loss", "train_accuracy", "val_loss", "test_loss"];
        epochs
            .map(|line| keys.map(|key| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"))))
            .collect()
    };
    let (cpu, burn) = (curve("cpu"), curve("burn"));
    assert!(cpu.len() == 3 && burn.len() == 3, "{cpu:?}, {burn:?}");
    for (cpu, burn) in cpu.iter().flatten().zip(burn.iter().flatten()) {
        assert!((cpu - burn).abs() < 1e-9, "{cpu} and {burn}");
    }
}

/// The loader's own variable hides the drivers of the machine.
#[cfg(feature = "burn-wgpu")]
#[test]
fn without_a_vulkan_driver_the_list_says_so_and_a_run_is_refused() {
    let hidden = |arguments: &[&str]| {
        let output = gnr(arguments).env("VK_DRIVER_FILES", "/nowhere.json").output().unwrap();
        let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), words.concat())
    };
    let (code, text) = hidden(&["devices"]);
    let reason = "no Vulkan device: VK_DRIVER_FILES=/nowhere.json";
    assert!(code == 0 && text.contains(&format!("no Vulkan device to compute on: {reason}")), "{text}");
    assert!(text.contains("burn 0.22; train.device = cpu\n"), "{text}");
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let (code, text) = hidden(&["train", "digits", "--device", "vulkan", "--out", out.to_str().unwrap()]);
    assert!(code == 1 && text.contains(reason) && !out.exists(), "{text}");
}

#[test]
fn every_command_that_computes_takes_a_device_and_refuses_what_is_not_there() {
    let commands: &[&[&str]] = &[
        &["train"],
        &["resume"],
        &["compare"],
        &["sweep"],
        &["eval"],
        &["bench"],
        &["spectrum"],
        &["trace"],
        &["density"],
        &["landscape"],
        &["minima"],
        &["sharpness"],
        &["data", "bench"],
    ];
    for command in commands {
        let (code, help, _) = run(&[command, &["--help"][..]].concat());
        assert!(code == 0 && help.contains("--device <DEVICE>"), "{command:?}");
    }
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let train = |device: &str| run(&["train", "digits", "--device", device, "--out", out.to_str().unwrap()]);
    let (code, _, stderr) = train("tpu");
    assert!(code == 1 && stderr.contains("`train.device` = \"tpu\": expected"), "{stderr}");
    // No machine has so many cards.
    let (code, _, stderr) = train("cuda:1000");
    let reasons = [
        "--features torch",
        "libtorch_cuda.so cannot be loaded",
        "finds no card",
        "this machine has",
        "NVIDIA's driver",
    ];
    assert!(code == 1 && reasons.iter().any(|reason| stderr.contains(reason)), "{stderr}");
    assert!(!out.exists(), "nothing was begun");
}

/// Only gnr-cpu counts multiplications: the lines of other engines have no count, rather than a count of 0.
#[test]
fn bench_says_which_engine_computed() {
    let engines = [
        ("cpu", "gnr-cpu ", true),
        ("burn", "burn ", cfg!(feature = "burn")),
        ("dfdx", "dfdx ", cfg!(feature = "dfdx")),
        ("torch", "LibTorch", cfg!(feature = "torch")),
    ];
    for (backend, library, _) in engines.into_iter().filter(|(.., built)| *built) {
        let step = ["bench", "--model", "mlp", "--batch", "4", "--rounds", "1", "--method", "sgd"];
        let (code, stdout, stderr) = run(&[&step[..], &["--device", "cpu", "--backend", backend]].concat());
        assert_eq!(code, 0, "{stderr}");
        let line: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(line["device"], "cpu");
        assert!(line["library"].as_str().unwrap().starts_with(library), "{line}");
        for count in ["gflop", "matmul_gflops"] {
            let positive = line.get(count).map(|count| count.as_f64().unwrap() > 0.0);
            assert_eq!(positive, (backend == "cpu").then_some(true), "{count} in {line}");
        }
    }
}
