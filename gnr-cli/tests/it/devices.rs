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
    let (code, stdout, stderr) = run(&[
        "bench", "--model", "mlp", "--batch", "4", "--rounds", "1", "--method", "sgd", "--device", "cpu",
    ]);
    assert_eq!(code, 0, "{stderr}");
    let line: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(line["device"], "cpu");
    assert!(line["library"].as_str().unwrap().starts_with("gnr-cpu "), "{line}");
}
