//! Unfinished work goes on for an equal loss only: of equal weights, images, architecture and normalisation, wherever
//! the files lie and whichever program began it.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gnr_train::{
    SubjectRequest, TrainError,
    curvature::{CurvatureRequest, SpectrumReport, SpectrumRequest, spectrum},
    geometry::{Axes, GeometryRequest, LandscapeReport, LandscapeRequest, Scaling, SmallTensors, landscape},
    measure::Measured,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::{
    curvature::StopAfter,
    support::{run, tiny},
};

/// Trains two runs that differ in their seed, and copies the weights of the first to `w.safetensors`.
fn weights(home: &Path) -> PathBuf {
    for seed in [0, 1] {
        let seed_of = format!("train.seed={seed}");
        let sets = ["train.precision=f64", "model.activation=tanh", &seed_of];
        run(tiny(&sets), &home.join(format!("run-{seed}"))).unwrap();
    }
    let file = home.join("w.safetensors");
    fs::copy(last(home, 0), &file).unwrap();
    file
}

fn last(home: &Path, seed: usize) -> PathBuf {
    home.join(format!("run-{seed}/checkpoints/last.safetensors"))
}

fn with(weights: &Path, sets: &[&str]) -> SubjectRequest {
    let overrides = sets.iter().map(|set| (*set).to_owned()).collect();
    SubjectRequest { overrides, ..SubjectRequest::new(weights) }
}

/// Eigenvalues of unfinished work that goes on; without it, the work begins and stops after six products.
fn eigenvalues(subject: SubjectRequest, out: &Path) -> Result<Measured<SpectrumReport>, TrainError> {
    let resume = out.join("state.safetensors").exists();
    let common = CurvatureRequest { resume, ..CurvatureRequest::new(subject, out) };
    let request = SpectrumRequest { max_basis: Some(12), ..SpectrumRequest::new(common, 4) };
    let stop = AtomicBool::new(false);
    spectrum(&request, &mut StopAfter(if resume { usize::MAX } else { 6 }, &stop), &stop)
}

fn line(subject: SubjectRequest, out: &Path, axes: Axes) -> Result<LandscapeReport, TrainError> {
    let common = GeometryRequest { subject, out: out.to_path_buf() };
    let request = LandscapeRequest { common, axes, ranges: vec![], points: vec![2] };
    match landscape(&request, &mut (), &AtomicBool::new(false))? {
        Measured::Finished(report) => Ok(report),
        Measured::Interrupted { .. } => panic!("nobody asked to stop"),
    }
}

fn random() -> Axes {
    Axes::Random { count: 1, seed: 0, scaling: Scaling::Filter, small: SmallTensors::Fixed }
}

const REPLACED: [&str; 2] = ["data.normalization=unit", "model.activation=gelu"];

#[test]
fn a_spectrum_goes_on_with_equal_weights_and_settings_only() {
    let home = tempfile::tempdir().unwrap();
    let (file, out) = (weights(home.path()), home.path().join("out"));
    let begun = eigenvalues(with(&file, &[]), &out).unwrap();
    assert!(matches!(begun, Measured::Interrupted { done: 6, resumable: true, .. }), "{begun:?}");
    let refused = |subject: SubjectRequest| {
        let error = eigenvalues(subject, &out).unwrap_err().to_string();
        assert!(error.contains("is of another request"), "{error}");
    };
    for replaced in REPLACED {
        refused(with(&file, &[replaced]));
    }
    // Weights of the same epoch of another run, at the same path.
    fs::copy(last(home.path(), 1), &file).unwrap();
    refused(with(&file, &[]));
    // Neither the path nor the number of threads is part of the matrix.
    let Measured::Finished(found) =
        eigenvalues(with(&last(home.path(), 0), &["train.threads=2"]), &out).unwrap()
    else {
        panic!("nobody asked to stop")
    };
    assert!(found.pairs.iter().all(|pair| pair.verdict == "converged"), "{found:?}");
    assert_eq!(found.subject.normalization.as_deref(), Some("digits"));
    assert_eq!(
        json!(found.subject.model_settings),
        json!({ "name": "mlp", "widths": [16], "activation": "tanh" })
    );
}

/// Earlier programs wrote the description of the subject, with the path of the weights and without a checksum.
#[test]
fn a_state_of_an_earlier_program_goes_on_unless_the_weights_are_younger() {
    let home = tempfile::tempdir().unwrap();
    let (file, out) = (weights(home.path()), home.path().join("out"));
    eigenvalues(with(&file, &[]), &out).unwrap();
    let state = out.join("state.safetensors");
    let bytes = fs::read(&state).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut header: Value =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["gnr-curvature"]).unwrap();
    header["request"]["subject"] = json!({
        "weights": file.display().to_string(), "epoch": 3, "model": "mlp",
        "data": header["request"]["subject"]["data"], "data_checksum": header["request"]["subject"]["data_checksum"],
        "images": 80, "batch_size": 80, "batch_norm": "eval", "label_smoothing": 0.0, "parameters": 1210,
        "dimension": 1210, "layers": null, "precision": "f64", "device": "cpu",
        "library": concat!("gnr-cpu ", env!("CARGO_PKG_VERSION")), "threads": 1,
    });
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let entry = HashMap::from([("gnr-curvature".to_owned(), header.to_string())]);
    fs::write(&state, safetensors::serialize(tensors, Some(entry)).unwrap()).unwrap();

    let refused = |subject: SubjectRequest| {
        let error = eigenvalues(subject, &out).unwrap_err().to_string();
        assert!(error.contains("is of another request"), "{error}");
    };
    refused(with(&file, &REPLACED[..1]));
    let now = fs::metadata(&state).unwrap().modified().unwrap();
    let written = |at| fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
    written(now + std::time::Duration::from_secs(60));
    refused(with(&file, &[]));
    written(now - std::time::Duration::from_secs(60));
    assert!(matches!(eigenvalues(with(&file, &[]), &out).unwrap(), Measured::Finished(_)));
}

#[test]
fn points_are_those_of_equal_settings() {
    let home = tempfile::tempdir().unwrap();
    let (file, out) = (weights(home.path()), home.path().join("out"));
    line(with(&file, &[]), &out, random()).unwrap();
    for (replaced, key) in REPLACED.into_iter().zip(["normalization", "model_settings"]) {
        let error = line(with(&file, &[replaced]), &out, random()).unwrap_err().to_string();
        assert!(error.contains(&format!("another request ({key}: nothing there")), "{error}");
        let other = home.path().join(key);
        line(with(&file, &[replaced]), &other, random()).unwrap();
        let error = line(with(&file, &[]), &other, random()).unwrap_err().to_string();
        assert!(error.contains(&format!("another request ({key}: ")), "{error}");
    }
    // A request that replaces nothing is written as by earlier programs, whose points are therefore taken.
    let points = fs::read_to_string(out.join("points.jsonl")).unwrap();
    let request: Value = serde_json::from_str(points.lines().next().unwrap()).unwrap();
    let mut keys: Vec<&str> = request.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let earlier = [
        "batch_norm",
        "batch_size",
        "command",
        "data",
        "data_checksum",
        "label_smoothing",
        "layers",
        "model",
        "options",
        "precision",
        "weights",
    ];
    assert_eq!(keys, earlier);
    line(with(&last(home.path(), 0), &["model.activation=tanh", "train.threads=2"]), &out, random()).unwrap();
}

/// The loss of another run is its own only with that run's architecture and normalisation.
#[test]
fn a_line_to_a_run_of_another_function_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = weights(home.path());
    let to = |set: &str, name: &str| {
        let recipe = tiny(&["train.precision=f64", "model.activation=tanh", "train.seed=2", set]);
        run(recipe, &home.path().join(name)).unwrap();
        Axes::Checkpoints { to: vec![home.path().join(name)] }
    };
    let (gelu, unit) = (to("model.activation=gelu", "gelu"), to("data.normalization=unit", "unit"));
    for (axes, words) in [
        (&gelu, "model.activation is \"gelu\" there, expected \"tanh\" as of"),
        (&unit, "data.normalization is \"unit\" there, expected \"digits\" as of"),
    ] {
        let error = line(with(&file, &[]), &home.path().join("out"), axes.clone()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    line(with(&file, &["data.normalization=unit"]), &home.path().join("out"), unit).unwrap();
}
