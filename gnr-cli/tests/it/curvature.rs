//! Tests of `gnr spectrum`, `gnr trace` and `gnr density`: tables, JSON, files, refusals, and an interrupted spectrum
//! that continues.

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
    assert_eq!(
        tree(&folder),
        ["curvature.lock", "eigenvectors.safetensors", "spectrum.csv", "spectrum.json"]
    );
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("spectrum.json")).unwrap()).unwrap();
    let options =
        ["max_basis", "max_matvecs", "reorthogonalization"].map(|option| report[option].to_string());
    assert_eq!(options, ["49", "1000", "\"full\""]);
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
    let options = ["gaussian", "sketch", "block", "max_samples"].map(|option| report[option].to_string());
    assert_eq!(options, ["false", "null", "8", "20"]);
    let (low, trace, high) = (&report["low"], &report["trace"], &report["high"]);
    assert!(low.as_f64() < trace.as_f64() && trace.as_f64() < high.as_f64() && trace.as_f64() > Some(0.0));
    let report =
        json(&["density", &net, "--steps", "20", "--starts", "2", "--subset", "3-per-class", "--json"]);
    assert_eq!((&report["subject"]["images"], &report["cost"]["num_matvecs"]), (&30.into(), &40.into()));
    let files = ["curvature.lock", "density.csv", "density.json", "density_nodes.csv"];
    assert_eq!(tree(&home.path().join("run/density")), files);
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
        (&["spectrum", &net, "--reorthogonalize", "local"], 2, "[possible values: full, selective]"),
        (
            &["spectrum", &net, "--dominant", "2", "--method", "power", "--block", "2"],
            1,
            "block: an option of Lanczos",
        ),
        (&["trace", &net, "--method", "diagonal", "--gaussian"], 1, "gaussian: an option of hutchinson"),
        (&["trace", &net, "--method", "xtrace", "--sketch", "20"], 1, "sketch: an option of hutch-plus-plus"),
        (
            &["trace", &net, "--method", "diagonal", "--samples", "1"],
            1,
            "1 samples: an interval needs at least 3",
        ),
        (&["trace", &net, "--subset", "many"], 2, "200-per-class"),
        (&["trace", &net, "--subset", "1000-per-class"], 1, "has only"),
        (&["trace", &net, "--confidence", "2"], 1, "confidence 2: must lie in (0, 1)"),
        (&["density", "nothing.safetensors"], 1, "nothing.safetensors"),
    ] {
        let (found, stdout, stderr) = run(arguments);
        assert_eq!(found, code, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    assert!(
        !std::path::Path::new("nothing-density").exists(),
        "a subject that cannot be opened leaves no folder"
    );
    for command in ["spectrum", "trace", "density"] {
        let (code, stdout, _) = run(&[command, "--help"]);
        assert!(code == 0 && stdout.contains("Examples:") && stdout.contains("Files:"), "{stdout}");
    }
}

/// Ctrl-C during the products, then --resume, several times: the table equals that of an uninterrupted run.
#[cfg(unix)]
#[test]
fn an_interrupted_spectrum_goes_on() {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    let start = |out: &str, rest: &[&str]| {
        let out = home.path().join(out).display().to_string();
        // With one image at a time each product takes milliseconds.
        let work =
            ["spectrum", &net, "--both-ends", "40", "--tol", "1e-6", "--batch-size", "1", "--out", &out];
        let mut command = gnr(&[&work[..], rest].concat());
        // Prints after every product how many are done.
        command.env("GNR_LOG", "gnr=debug").env("NO_COLOR", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let output = start("whole", &[]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let number = |text: &str| text.split(' ').next()?.parse::<u32>().ok();
    let mut done = 0;
    for resume in [&[][..], &["--resume"], &["--resume"]] {
        let mut child = start("pieces", resume);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let products = |line: &str| number(line.split_once("gnr::watch: ")?.1);
        assert!(lines.any(|line| products(&line).is_some_and(|products| products > done + 5)));
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let told: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{told:?}");
        let products = told.iter().find_map(|line| number(line.strip_prefix("interrupted after ")?)).unwrap();
        assert!(products > done + 5, "{products} products, {done} before");
        assert!(home.path().join("pieces/state.safetensors").is_file());
        done = products;
    }
    let output = start("pieces", &["--resume"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(home.path().join(name).join("spectrum.csv")).unwrap();
    assert_eq!(read("whole"), read("pieces"), "after {done} products in pieces");
    assert!(!home.path().join("pieces/state.safetensors").exists());
}

/// Standard input has ended before the work begins.
#[test]
fn the_end_of_standard_input_stops_every_measurement_that_asked_for_it() {
    let home = tempfile::tempdir().unwrap();
    let net = trained(home.path());
    for command in ["spectrum", "trace", "density", "landscape", "minima", "sharpness"] {
        // There are many parts, so that the work cannot be done before it checks the input.
        let more: &[&str] = match command {
            "landscape" => &["--points", "200"],
            "minima" => &["--directions", "5000"],
            "sharpness" => &["--steps", "100000"],
            // The tolerance is a residual that single precision does not reach.
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
