//! What is built and asked: the `gnr` program and gnr-torch's tests, both with LibTorch, and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::clock::Clock;
use crate::libtorch::{self, with_libtorch};
use crate::workspace::{built, cargo, output, release_gnr};

/// The variable that tells gnr-torch's tests where to compute.
const DEVICE: &str = "GNR_TORCH_DEVICE";

/// The programs that were built.
pub(super) struct Programs {
    gnr: PathBuf,
    tests: PathBuf,
}

impl Programs {
    /// Builds them for this device.
    ///
    /// # Errors
    /// A LibTorch without CUDA for a card; what does not build.
    pub(super) fn build(device: &str) -> Result<Self> {
        let folder = libtorch::folder();
        if device == "cpu" {
            libtorch::run()?;
        } else if !folder.join("lib/libtorch_cuda.so").is_file() {
            bail!(
                "{}: no lib/libtorch_cuda.so there; a card needs a whole PyTorch, whose folder LIBTORCH names (docs/devices.md)",
                folder.display()
            );
        }
        println!("building gnr and the tests of gnr-torch with LibTorch");
        let gnr = release_gnr(&["--features", "torch"]);
        let mut tests =
            cargo(["test", "-p", "gnr-torch", "--features", "libtorch", "--test", "it", "--no-run"]);
        tests.arg("--message-format=json-render-diagnostics");
        Ok(Self { gnr: built(with_libtorch(gnr))?, tests: built(with_libtorch(tests))? })
    }
    /// `gnr`, which finds LibTorch.
    pub(super) fn gnr(&self) -> impl Fn() -> Command {
        let path = self.gnr.clone();
        move || with_libtorch(Command::new(&path))
    }
}

/// Version of Python's torch, and of its CUDA.
///
/// # Errors
/// A Python that cannot be started, has no torch, or does not see the card.
pub(super) fn pytorch(python: &Path, device: &str) -> Result<String> {
    let mut command = Command::new(python);
    let ask = "import sys, torch; d = torch.device(sys.argv[1]); torch.zeros(1, device=d); \
               print(torch.__version__, f'(CUDA {torch.version.cuda})' if d.type == 'cuda' else '(CPU)')";
    command.args(["-c", ask, device]);
    let said = output(command)
        .with_context(|| format!("--python needs a Python whose torch computes on the device {device}"))?;
    Ok(said.trim().to_owned())
}

/// What `gnr devices --json` says.
///
/// # Errors
/// When LibTorch does not compute on this device.
pub(super) fn devices(programs: &Programs, device: &str, clock: &Clock) -> Result<Value> {
    let mut command = programs.gnr()();
    command.args(["devices", "--json"]);
    let found: Value =
        serde_json::from_str(clock.output(command)?.trim()).context("gnr devices printed no JSON")?;
    offers(&found, device)?;
    Ok(found)
}

/// Checks that the backend `torch` has the device.
fn offers(found: &Value, device: &str) -> Result<()> {
    let wanted = if device == "cuda" { "cuda:0" } else { device };
    let backends = found["backends"].as_array().map_or(&[][..], Vec::as_slice);
    let torch = backends.iter().find(|backend| backend["name"] == "torch");
    let devices = torch.and_then(|torch| torch["devices"].as_array()).map_or(&[][..], Vec::as_slice);
    if devices.iter().any(|name| name == wanted) {
        return Ok(());
    }
    let why = found["no_cuda"].as_str().unwrap_or("gnr devices lists others");
    bail!("the backend torch does not compute on {wanted}: {why}")
}

/// The stages of tests: a name, and filters of the tests' names.
pub(super) fn tests(small: bool) -> Vec<(&'static str, &'static [&'static str])> {
    let nets: &[&str] = if small { &["golden::resnet20", "golden::smooth"] } else { &["golden"] };
    vec![
        ("conformance, f32", &["conformance::f32"]),
        ("conformance, f64", &["conformance::f64"]),
        ("the oracle's promises", &["conformance::oracles"]),
        ("PyTorch's numbers and gnr-cpu's of small nets", &["fixtures", "agreement"]),
        ("rounding of bf16", &["precision::what", "precision::tensors"]),
        ("golden nets, f32 and f64", nets),
    ]
}

/// Runs those of gnr-torch's tests whose names contain one of the filters, on this device.
///
/// # Errors
/// A test that fails; filters that no test has.
pub(super) fn test(programs: &Programs, device: &str, filters: &[&str], clock: &Clock) -> Result<()> {
    let mut command = with_libtorch(Command::new(&programs.tests));
    // Golden files are found by the crate's folder at compile time; nothing depends on where this runs.
    command.args(filters).env(DEVICE, device);
    let said = clock.output(command)?;
    match passed(&said) {
        Some(0) | None => bail!("no test of gnr-torch is called {}: {said}", filters.join(" or ")),
        Some(_) => Ok(()),
    }
}

/// How many tests passed, of `test result: ok. 12 passed; …`.
fn passed(said: &str) -> Option<usize> {
    let line = said.lines().find(|line| line.starts_with("test result:"))?;
    let before = line.split(" passed").next()?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests_of_words {
    use super::*;

    #[test]
    fn results_of_tests_are_counted() {
        let said = "\nrunning 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n";
        assert_eq!(passed(said), Some(2));
        assert_eq!(passed("test result: ok. 0 passed; 0 failed"), Some(0));
        assert_eq!(passed("error"), None);
    }

    #[test]
    fn a_device_that_gnr_does_not_offer_is_refused_with_its_reason() {
        let found = serde_json::json!({
            "backends": [{"name": "cpu", "devices": ["cpu"]}, {"name": "torch", "devices": ["cpu"]}],
            "no_cuda": "no NVIDIA driver",
        });
        assert!(offers(&found, "cpu").is_ok());
        let error = offers(&found, "cuda").unwrap_err().to_string();
        assert_eq!(error, "the backend torch does not compute on cuda:0: no NVIDIA driver");
    }
}
