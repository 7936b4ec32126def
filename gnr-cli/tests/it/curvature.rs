//! `gnr spectrum`, `gnr trace`, `gnr density`: tables, JSON, files, refusals, and an interrupted spectrum that goes on.

use crate::support::{TINY, gnr, run, tree, write};

/// A run folder of a small MLP.
fn trained(home: &std::path::Path) -> String {
    let recipe = write(home, "mine.toml", TINY);
    let out = home.join("run").display().to_string();
    assert_eq!(run(&["train", recipe.to_str().unwrap(), "--out", &out, "--quiet"]).0, 0);
    out
}

#[test]
fn curvature_of_a_run() {
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    let (code, stdout, stderr) = run(&["spectrum", &net, "--top", "3", "--save", "--verify", "--seed", "2"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("eigenvalue") && stdout.matches("converged").count() == 3, "{stdout}");
    assert!(stderr.contains("BatchNorm eval") && stderr.contains("of 160 parameters"), "{stderr}");
    let folder = home.path().join("run/spectrum");
    assert_eq!(tree(&folder), ["eigenvectors.safetensors", "spectrum.csv", "spectrum.json"]);
    let table = std::fs::read_to_string(folder.join("spectrum.csv")).unwrap();
    assert!(table.starts_with("rank,end,eigenvalue,residual,verdict\n0,top,"), "{table}");

    // A finished folder is not overwritten.
    let (code, _, stderr) = run(&["spectrum", &net, "--top", "3"]);
    assert!(code == 1 && stderr.contains("choose another --out"), "{stderr}");

    let json = |arguments: &[&str]| -> serde_json::Value {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        serde_json::from_str(&stdout).unwrap()
    };
    let report = json(&["trace", &net, "--samples", "20", "--layers", "2", "--json", "--operator", "ggn"]);
    assert_eq!((&report["subject"]["dimension"], &report["operator"]), (&30.into(), &"ggn".into()));
    assert_eq!(report["samples"].as_array().unwrap().len(), 20);
    let (low, trace, high) = (&report["low"], &report["trace"], &report["high"]);
    assert!(low.as_f64() < trace.as_f64() && trace.as_f64() < high.as_f64() && trace.as_f64() > Some(0.0));
    let report =
        json(&["density", &net, "--steps", "20", "--starts", "2", "--subset", "3-per-class", "--json"]);
    assert_eq!((&report["subject"]["images"], &report["cost"]["num_matvecs"]), (&30.into(), &40.into()));
    assert_eq!(tree(&home.path().join("run/density")), ["density.csv", "density.json", "density_nodes.csv"]);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    for (arguments, code, expected) in [
        (&["spectrum", &net, "--layers", "conv*"][..], 1, "no parameter of the model fits `conv*`"),
        (&["spectrum", &net, "--method", "power"], 1, "power iteration finds dominant pairs"),
        (&["spectrum", &net, "--top", "1000"], 1, "1000 eigenpairs of an operator of dimension 160"),
        (&["spectrum", &net, "--top", "2", "--bottom", "2"], 2, "cannot be used with"),
        (&["trace", &net, "--subset", "many"], 2, "200-per-class"),
        (&["trace", &net, "--subset", "1000-per-class"], 1, "has only"),
        (&["trace", &net, "--confidence", "2"], 1, "confidence must be in (0, 1)"),
        (&["density", "nothing.safetensors"], 1, "nothing.safetensors"),
    ] {
        let (found, stdout, stderr) = run(arguments);
        assert_eq!(found, code, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    for command in ["spectrum", "trace", "density"] {
        let (code, stdout, _) = run(&[command, "--help"]);
        assert!(code == 0 && stdout.contains("Examples:") && stdout.contains("Files:"), "{stdout}");
    }
}

/// Ctrl-C in the middle, then --resume: the same table as in one go.
#[cfg(unix)]
#[test]
fn an_interrupted_spectrum_goes_on() {
    use std::{process::Stdio, thread::sleep, time::Duration};
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    let folder = |name: &str| home.path().join(name).display().to_string();
    // Ten images at a time and double precision: each product takes milliseconds.
    let arguments = |out: &str, rest: &[&str]| -> Vec<String> {
        let all = [
            "spectrum",
            &net,
            "--both-ends",
            "40",
            "--tol",
            "1e-6",
            "--batch-size",
            "2",
            "--quiet",
            "--out",
            out,
        ];
        all.iter().chain(rest).map(|x| (*x).to_owned()).collect()
    };
    let start = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        gnr(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let output = start(&arguments(&folder("whole"), &[])).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut interrupted = 0;
    for attempt in 0..200 {
        let resume: &[&str] = if attempt > 0 { &["--resume"] } else { &[] };
        let child = start(&arguments(&folder("pieces"), resume));
        sleep(Duration::from_millis(300));
        let id = child.id().to_string();
        // Killing a process that is done already is no error of this test.
        let _ = std::process::Command::new("kill").args(["-INT", &id]).stderr(Stdio::null()).status();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => break,
            // Interrupted in order, or (before the handler was there) by the signal itself.
            Some(130) => interrupted += 1,
            None => {}
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    let read = |name: &str| std::fs::read_to_string(home.path().join(name).join("spectrum.csv")).unwrap();
    assert_eq!(read("whole"), read("pieces"), "after {interrupted} interruptions");
}

/// Standard input has ended before the work begins.
#[test]
fn the_end_of_standard_input_stops_every_measurement_that_asked_for_it() {
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    for command in ["spectrum", "trace", "density", "landscape", "minima", "sharpness"] {
        // Many parts, so that it cannot be done before it looks.
        let more: &[&str] = match command {
            "landscape" => &["--points", "200"],
            "minima" => &["--directions", "5000"],
            "sharpness" => &["--steps", "100000"],
            // A residual that single precision does not reach.
            "spectrum" => {
                &["--dominant", "9", "--method", "power", "--tol", "1e-15", "--max-matvecs", "100000000"]
            }
            "trace" => &["--samples", "100000"],
            _ => &["--starts", "10000"],
        };
        let arguments = [&[command, &net, "--stop-at-eof"], more].concat();
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, 130, "{command}: {stdout}{stderr}");
        assert!(stderr.contains("interrupted after"), "{command}: {stderr}");
    }
}
